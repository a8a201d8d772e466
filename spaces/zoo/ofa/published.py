"""Networks that the Once-for-All project released, by the names it gave them.

Sources of the configurations: han-cai/files, ofa/ofa_specialized; for
flops@595M_top1@80.0_finetune@75 the copy in Alibaba-MIIL/ImageNet21K,
src_files/models/ofa/specialized_models_configs; for the two note8 ones open-mmlab/mmrazor,
configs/nas/mmcls/onceforall. Where only the layers are public (cpu_lat, v100_gpu64), the side is
the one multiple of 4 with the multiply-adds of the project's table.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Released:
    """One network.

    Args:
        width: Multiplier of the space.
        side: Input side.
        stages: Separated by bars, kernel and ratio of each block as two digits.
    """

    width: float
    side: int
    stages: str

    def lists(self, slots: list[int]) -> dict[str, list[int]]:
        """Return the lists of the notation for stages of so many slots; unused ones are 0."""
        found: dict[str, list[int]] = {"ks": [], "e": [], "d": []}
        for stage, length in zip(self.stages.split("|"), slots, strict=True):
            blocks = stage.split()
            unused = [0] * (length - len(blocks))
            found["ks"] += [int(block[0]) for block in blocks] + unused
            found["e"] += [int(block[1]) for block in blocks] + unused
            found["d"].append(len(blocks))
        return found


MBV3 = {
    "flops@595M_top1@80.0_finetune@75": Released(
        1.2, 236, "33 54 33 | 54 54 36 53 | 76 56 33 54 | 36 56 76 34 | 36 36 56 33"
    ),
    "note8_lat@31ms_top1@72.8_finetune@25": Released(
        1.0, 152, "53 33 | 54 53 | 34 34 54 | 34 53 74 | 36 33 53 53"
    ),
    "note8_lat@22ms_top1@70.4_finetune@25": Released(
        1.0, 140, "33 33 | 53 53 | 74 33 | 53 34 | 36 76"
    ),
}

PROXYLESS = {
    "v100_gpu64@11ms_top1@76.1_finetune@25": Released(
        1.3, 192, "33 33 | 56 53 | 73 33 74 | 74 54 33 74 | 36 56 54 36 | 34"
    ),
    "1080ti_gpu64@12ms_top1@72.6_finetune@25": Released(
        1.3, 128, "33 33 | 36 54 54 | 56 53 73 | 34 73 36 34 | 76 54 73 53 | 36"
    ),
    "tx2_gpu16@96ms_top1@75.8_finetune@25": Released(
        1.3, 172, "33 34 36 | 73 54 | 34 54 54 53 | 54 73 73 36 | 36 36 56 34 | 53"
    ),
    "tx2_gpu16@35ms_top1@70.3_finetune@25": Released(
        1.3, 128, "34 33 | 36 76 | 56 53 | 53 34 | 56 34 | 54"
    ),
    "cpu_lat@15ms_top1@74.6_finetune@25": Released(
        1.3, 188, "33 33 | 34 36 | 76 34 | 54 36 36 | 56 33 | 76"
    ),
    "cpu_lat@11ms_top1@72.0_finetune@25": Released(
        1.3, 144, "54 53 | 33 73 | 54 34 73 | 54 74 | 36 34 | 54"
    ),
    "cpu_lat@10ms_top1@71.1_finetune@25": Released(
        1.3, 144, "54 33 | 33 33 | 73 33 73 | 53 54 | 53 34 | 34"
    ),
}
