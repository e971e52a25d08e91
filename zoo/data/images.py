"""Labelled images held in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["ImageDataset", "as_float", "coloured"]


@dataclass(frozen=True, eq=False)
class ImageDataset(Dataset[tuple[Tensor, int]]):
    """Images and labels, as a whole (`.images`, `.labels`) and one by one (`dataset[i]`).

    Args:
        name: Name of the data set, as cards write it.
        split: "train" or "test".
        images: uint8, (N, C, H, W).
        labels: int64, (N,).
        classes: Name of each label.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor
    classes: Sequence[str]

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            found = f"{self.images.dtype} {tuple(self.images.shape)}"
            raise ValueError(f"images must be uint8 (N, C, H, W), found {found}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            found = f"{self.labels.dtype} {tuple(self.labels.shape)}"
            raise ValueError(f"labels must be int64 ({len(self.images)},), found {found}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Image `index`, float32 (C, H, W) in [0, 1], and its label."""
        return as_float(self.images[index]), int(self.labels[index])

    def head(self, n: int) -> "ImageDataset":
        """The first `n` images."""
        if not 0 < n <= len(self):
            raise ValueError(f"{self.name} ({self.split}) has {len(self)} images, not {n}")
        return ImageDataset(self.name, self.split, self.images[:n], self.labels[:n], self.classes)


def as_float(images: Tensor) -> Tensor:
    """Grey levels 0..255 (uint8) as float32 in [0, 1], same shape."""
    return images.to(torch.float32) / 255


def coloured(dataset: ImageDataset) -> ImageDataset:
    """Images (N, 1, 28, 28) with a black frame, the same in three channels: (N, 3, 32, 32)."""
    images = F.pad(dataset.images, (2, 2, 2, 2)).expand(-1, 3, -1, -1)
    return ImageDataset(dataset.name, dataset.split, images, dataset.labels, dataset.classes)
