"""The data sets that a spec can name."""

from __future__ import annotations

from ...registry import Registry

DATASETS = Registry(
    "data set",
    "netloom.datasets",
    {
        "cifar10": "netloom.estimators.data.cifar:Cifar10",
        "cifar100": "netloom.estimators.data.cifar:Cifar100",
        "coco": "netloom.estimators.data.coco:Coco",
        "digits": "netloom.estimators.data.digits:Digits",
        "image_folder": "netloom.estimators.data.image_folder:ImageFolder",
        "mask_folder": "netloom.estimators.data.mask_folder:MaskFolder",
        "npz": "netloom.estimators.data.npz:Npz",
        "shapes": "netloom.estimators.data.shapes:Shapes",
    },
)
