"""What a runtime does with memory and kernels: a record, and presets of known runtimes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ...errors import SpecError, UnknownName
from ...options import SpecProblems, validate
from ..memory import Sharing
from .lower import Lowering

Planner: TypeAlias = Literal[
    "liveness",
    "greedy16",
    "firstfit",
    "mcunet_act",
    "tokens",
    "tokens_naive",
    "official_engine",
    "official_dev",
]
Kernels: TypeAlias = Literal["tflm_ref", "cmsis_nn", "x_cube_ai", "tinyengine", "esp_nn", "plain_c"]


class Patch(BaseModel):
    """A fixed patch stage.

    Args:
        n: Tiles per side.
        split: Operators in the stage, pads counted where they are operators.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    n: int = Field(ge=1)
    split: int = Field(ge=1)


class Policy(BaseModel):
    """How one runtime plans memory and which kernels it runs.

    Args:
        planner: `greedy16` (TensorFlow Lite Micro), `firstfit` (TinyEngine), `liveness` (a lower
            bound of any placement) or `mcunet_act` (the proxy that MCUNet's search uses). For
            vision transformers also `tokens` and `tokens_naive` (MCUFormer's schedule, and the
            operators that it puts together one by one), `official_engine` and `official_dev` (what
            its repositories count).
        inplace_add: Whether an add overwrites an operand that dies there.
        inplace_dw: Whether a depthwise convolution overwrites its input.
        pad_fused: Whether kernels pad themselves.
        scratch: Whose kernel scratch is added.
        reorder: `dp` looks for the order of operators that needs least memory.
        patch: None, a fixed stage, or `auto`: the (n, split) that needs least memory.
        patch_overhead: With `auto`, the most multiply-adds, as a multiple of those without tiles.
        patch_rule: `clipped` computes no halo beyond the borders of maps, and frees the stage's
            output once it was read; `tinyengine` cuts and keeps what TinyEngine does.
        input_resident: Whether the whole input lies in memory during a patch stage; otherwise each
            tile of it is copied there.
        weights: Where weights lie; under `tokens` and `tokens_naive`, whether the matrix of an
            operator is copied to SRAM while it runs.
        mlp_tile: With `tokens`, run an MLP through for so many tokens at a time.
        attention_maps: With `tokens` and `official_dev`, count the scores of all heads of
            attention, which the former never keeps and the latter leaves out.
        overhead: Persistent structures: `tflm` keeps some beside the arena, generated code none.
        kernels: Whose cycles are counted.
        float_input: Whether the network is fed float32 and quantises on the device.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    planner: Planner = "greedy16"
    inplace_add: bool = False
    inplace_dw: bool = False
    pad_fused: bool = False
    scratch: Literal["none", "cmsis", "cmsis_mve", "cmsis_v6m", "tinyengine"] = "none"
    reorder: Literal["off", "dp"] = "off"
    patch: Patch | Literal["auto"] | None = None
    patch_overhead: float = Field(default=1.3, ge=1)
    patch_rule: Literal["clipped", "tinyengine"] = "clipped"
    input_resident: bool = True
    weights: Literal["flash", "sram"] = "flash"
    mlp_tile: int | None = Field(default=None, ge=1)
    attention_maps: bool = False
    overhead: Literal["tflm", "codegen", "none"] = "tflm"
    kernels: Kernels = "tflm_ref"
    float_input: bool = False

    @cached_property
    def sharing(self) -> Sharing:
        """The in-place rules."""
        return Sharing(self.inplace_add, self.inplace_dw)

    @model_validator(mode="after")
    def _agree(self) -> Policy:
        if not self.clips and self.input_resident:
            raise ValueError(
                "input_resident must be false with patch_rule tinyengine, which copies each tile "
                "from an image outside the arena; add the image to the device's sram_reserved"
            )
        return self

    @model_validator(mode="after")
    def _tokens(self) -> Policy:
        if self.mlp_tile is not None and self.planner != "tokens":
            raise ValueError(f"mlp_tile is for planner tokens, got {self.planner}; leave it out")
        if self.attention_maps and self.planner not in ("tokens", "official_dev"):
            raise ValueError(
                "attention_maps is for the planners tokens and official_dev (tokens_naive always "
                f"counts them), got {self.planner}; leave it out"
            )
        if self.by_tokens and self.overhead == "tflm":
            raise ValueError(
                f"overhead must be codegen or none with planner {self.planner}: TensorFlow Lite "
                "Micro does not run such schedules"
            )
        if self.by_tokens and (self.patch is not None or self.reorder != "off"):
            raise ValueError(
                f"patch and reorder are not for planner {self.planner}, which fixes the order of "
                "operators; leave them out"
            )
        return self

    @property
    def by_tokens(self) -> bool:
        """Whether the planner is one for vision transformers."""
        return self.planner in ("tokens", "tokens_naive", "official_engine", "official_dev")

    @property
    def clips(self) -> bool:
        """Whether tiles leave out what lies beyond the borders of maps."""
        return self.patch_rule == "clipped"

    @cached_property
    def lowering(self) -> Lowering:
        """How the graph is to be written."""
        return Lowering(self.pad_fused, self.float_input)


_TFLM_CMSIS = Policy(scratch="cmsis", kernels="cmsis_nn")
# its kernels were not released: cycles are those of CMSIS-NN, code that of generated code
_MCUFORMER = Policy(planner="tokens", pad_fused=True, overhead="codegen", kernels="cmsis_nn")
PRESETS: dict[str, Policy] = {
    "tflm_ref": Policy(),
    "tflm_cmsis": _TFLM_CMSIS,
    "tflm_cmsis_v6m": _TFLM_CMSIS.model_copy(update={"scratch": "cmsis_v6m"}),
    "tflm_esp": Policy(kernels="esp_nn"),
    "tinyengine": Policy(
        planner="firstfit",
        inplace_dw=True,
        pad_fused=True,
        scratch="tinyengine",
        patch_rule="tinyengine",
        input_resident=False,
        overhead="codegen",
        kernels="tinyengine",
    ),
    "ideal": Policy(
        planner="liveness",
        inplace_add=True,
        inplace_dw=True,
        pad_fused=True,
        reorder="dp",
        overhead="none",
        kernels="tinyengine",
    ),
    "mcunet_act": Policy(
        planner="mcunet_act", pad_fused=True, overhead="none", kernels="tinyengine"
    ),
    "mcuformer": _MCUFORMER,
    "mcuformer_naive": _MCUFORMER.model_copy(update={"planner": "tokens_naive"}),
    "mcuformer_engine": _MCUFORMER.model_copy(update={"planner": "official_engine"}),
    "mcuformer_dev": _MCUFORMER.model_copy(update={"planner": "official_dev"}),
}


def policy(value: str | Mapping[str, Any] | Policy) -> Policy:
    """Return a policy: a preset by name, `{preset: name, key: value}`, a record, or as it is.

    Raises:
        SpecError: If there is no such preset, or a key or value breaks a rule.
    """
    if isinstance(value, Policy):
        return value
    if isinstance(value, str):
        if value not in PRESETS:
            raise UnknownName("runtime", value, PRESETS)
        return PRESETS[value]
    if not isinstance(value, Mapping):
        raise SpecError(
            "a runtime must be the name of a preset or a mapping of the policy's keys, got "
            f"{value!r}; presets: {', '.join(PRESETS)}"
        )
    rest = dict(value)
    base = policy(rest.pop("preset")).model_dump() if "preset" in rest else {}
    found: Policy = validate(Policy, {**base, **rest}, where="runtime")
    return found


def _from_file(value: Any) -> Policy:
    try:
        return policy(value)
    except (SpecProblems, SpecError) as error:
        raise ValueError(str(error)) from error


PolicyField: TypeAlias = Annotated[Policy, BeforeValidator(_from_file)]
