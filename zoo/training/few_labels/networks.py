"""The networks that are trained on few labels: those of the authors' code, of any width."""

from collections.abc import Sequence
from typing import Any

from zoo.models.dgm import LAYERS
from zoo.models.resnet_cifar import CIFAR_MEAN, CIFAR_STD
from zoo.training.settings import SettingsError

__all__ = [
    "ALL_CONV_13",
    "FASHION_MEAN",
    "FASHION_STD",
    "NARROW",
    "RELEASED",
    "all_conv_13",
    "fashion",
]

FASHION_MEAN, FASHION_STD = 0.2860, 0.3530
"""Of the training images of Fashion-MNIST in [0, 1]."""
RELEASED = tuple(int(layer["channels"]) for layer in LAYERS)
"""Channels of the released network for 28 x 28 grey images."""
NARROW = (16, 32, 32, 64)
"""Half of them, for the study: many trainings."""
ALL_CONV_13 = (128, 128, 128, 256, 256, 256, 512, 256, 128)


def fashion(widths: Sequence[int] = RELEASED) -> dict[str, Any]:
    """Arguments of `zoo.models.dgm.DGM` for Fashion-MNIST: the released network with these widths.

    Raises:
        SettingsError: another number of widths.
    """
    layers = tuple({**layer, "channels": width} for layer, width in _paired(LAYERS, widths))
    return {
        "image_shape": (1, 28, 28),
        "layers": layers,
        "num_classes": 10,
        "normalisation": "batch",
        "leak": 0.1,
        "mean": (FASHION_MEAN,),
        "std": (FASHION_STD,),
    }


def all_conv_13(widths: Sequence[int] = ALL_CONV_13) -> dict[str, Any]:
    """Arguments of `DGM` for CIFAR-10: AllConv13, with dropout where a pool is crossed.

    Maps of 32², 16² and 8² pixels with a border of zeros, then 6² without one.

    Raises:
        SettingsError: another number of widths.
    """
    stage: list[dict[str, Any]] = [{"kernel": 3, "padding": 1}] * 2
    last = {"kernel": 3, "padding": 1, "pool": 2, "dropout": 0.5}
    top = [{"kernel": 3}, {"kernel": 3, "padding": 1}, {"kernel": 3, "padding": 1}]
    pairs = _paired([*stage, last, *stage, last, *top], widths)
    return {
        "image_shape": (3, 32, 32),
        "layers": tuple({"channels": width, **layer} for layer, width in pairs),
        "num_classes": 10,
        "normalisation": "batch",
        "leak": 0.1,
        "mean": CIFAR_MEAN,
        "std": CIFAR_STD,
    }


def _paired(layers: Sequence[Any], widths: Sequence[int]) -> list[tuple[Any, int]]:
    if len(widths) != len(layers) or min(widths) < 1:
        raise SettingsError(
            f"widths: expected {len(layers)} positive numbers, found {tuple(widths)}"
        )
    return list(zip(layers, widths, strict=True))
