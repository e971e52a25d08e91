"""Corruptions of images: noise, blur and occlusion, each at five severities.

What happens to an image depends on the image, its index and the seed alone, so a batch of one, a
batch of a thousand and the same images on another device are corrupted alike. The random part does
not depend on the severity: a stronger noise is the same noise, scaled, and a larger patch is at the
same relative place.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["CORRUPTIONS", "Corruption", "corrupt"]

GREY = 0.5
"""Colour of the occluding patch: unlike the black background, it hides something everywhere."""


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Args:
        apply: Function of images (N, C, H, W), one generator per image and the strength.
        strengths: Strength of severity 1, 2, ... 5.
        unit: What the strength means.
    """

    apply: Callable[[Tensor, Sequence[torch.Generator], float], Tensor]
    strengths: tuple[float, ...]
    unit: str


def corrupt(
    images: Tensor,
    kind: str,
    severity: int,
    *,
    seed: int = 0,
    indices: Sequence[int] | None = None,
) -> Tensor:
    """Corrupted copies of `images`.

    Args:
        images: Floating point, (N, C, H, W), in [0, 1].
        kind: A key of `CORRUPTIONS`.
        severity: 1 (mild) to 5.
        seed: Chooses the random part, together with each image's index.
        indices: Index of each image in its data set; default 0, 1, ..., N - 1.

    Returns:
        Same shape, dtype and device, in [0, 1].

    Raises:
        ValueError: an unknown kind or severity, images outside [0, 1] or of another shape.
    """
    corruption = _lookup(kind, severity)
    _check(images)
    indices = range(len(images)) if indices is None else indices
    if len(indices) != len(images):
        raise ValueError(f"expected an index per image, found {len(indices)} for {len(images)}")
    generators = [_generator(seed, kind, index) for index in indices]
    return corruption.apply(images, generators, corruption.strengths[severity - 1]).clamp(0, 1)


def _noise(images: Tensor, generators: Sequence[torch.Generator], sigma: float) -> Tensor:
    # Drawn on the CPU in float32: the same noise on every device and in every dtype.
    noise = torch.stack([torch.randn(images.shape[1:], generator=g) for g in generators])
    return images + sigma * noise.to(images)


def _blur(images: Tensor, generators: Sequence[torch.Generator], sigma: float) -> Tensor:
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(images)
    n, channels, height, width = images.shape
    planes = images.reshape(n * channels, 1, height, width)
    planes = F.pad(planes, (radius, radius, radius, radius), mode="replicate")
    planes = F.conv2d(F.conv2d(planes, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return planes.reshape(images.shape)


def _occlusion(images: Tensor, generators: Sequence[torch.Generator], share: float) -> Tensor:
    height, width = images.shape[2:]
    side = round(share * min(height, width))
    corners = torch.stack([torch.rand(2, generator=g, dtype=torch.float64) for g in generators])
    spare = torch.tensor([height - side + 1, width - side + 1], dtype=torch.float64)
    top, left = (corners * spare).floor().long().unbind(1)
    rows, columns = torch.arange(height), torch.arange(width)
    inside_rows = (rows >= top[:, None]) & (rows < top[:, None] + side)
    inside_columns = (columns >= left[:, None]) & (columns < left[:, None] + side)
    patch = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    return images.masked_fill(patch.to(images.device), GREY)


CORRUPTIONS: Mapping[str, Corruption] = {
    "noise": Corruption(_noise, (0.1, 0.2, 0.3, 0.4, 0.5), "standard deviation of Gaussian noise"),
    "blur": Corruption(_blur, (1.0, 1.5, 2.0, 2.5, 3.0), "standard deviation of the blur, pixels"),
    "occlusion": Corruption(
        _occlusion, (0.2, 0.3, 0.4, 0.5, 0.6), "side of a grey square / shorter side of the image"
    ),
}
"""Name -> corruption."""


def _lookup(kind: str, severity: int) -> Corruption:
    if kind not in CORRUPTIONS:
        raise ValueError(f"no corruption {kind!r}; there are {', '.join(CORRUPTIONS)}")
    corruption = CORRUPTIONS[kind]
    if severity not in range(1, len(corruption.strengths) + 1):
        raise ValueError(f"severity must be 1 to {len(corruption.strengths)}, found {severity}")
    return corruption


def _check(images: Tensor) -> None:
    if images.ndim != 4 or not images.is_floating_point() or images.numel() == 0:
        found = f"{images.dtype} {tuple(images.shape)}"
        raise ValueError(f"expected floating point images (N, C, H, W), found {found}")
    low, high = (float(bound) for bound in images.aminmax())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images must lie in [0, 1], found values from {low:.4g} to {high:.4g}")


def _generator(seed: int, kind: str, index: int) -> torch.Generator:
    """A generator of its own for each image, so that no image depends on its neighbours."""
    digest = hashlib.blake2b(f"{seed} {kind} {index}".encode(), digest_size=4).digest()
    # 32 bits, because the CPU generator ignores the others.
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
