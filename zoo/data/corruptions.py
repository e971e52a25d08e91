"""Corruptions of images: noise, blur, missing parts and wrong light, each at five severities.

What happens to an image depends on the image, its index and the seed alone, so a batch of one, a
batch of a thousand and the same images on another device are corrupted alike. The random part does
not depend on the severity: a stronger noise is the same noise, scaled, and a larger patch is at the
same relative place.

The kinds follow ImageNet-C (Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations", arXiv 1903.12261) and MNIST-C (Mu and Gilmer, "MNIST-C: A
Robustness Benchmark for Computer Vision", arXiv 1906.02337). The severities are the zoo's own, set
for 28 × 28 images; numbers under them are not numbers on those data sets. Their arithmetic is in
`zoo/data/degrade.py`.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.data import degrade

__all__ = ["CORRUPTIONS", "Corruption", "corrupt", "corrupt_randomly"]


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Args:
        draw: Function of the number of images, their shape (C, H, W) and a generator, to the random
            part: one row for each image.
        apply: Function of images (N, C, H, W), what was drawn and the strength, () or (N,).
        strengths: Strength of severity 1, 2, ... 5.
        unit: What the strength means.
        mildest: The least strength that `corrupt_randomly` uses.
    """

    draw: Callable[[int, tuple[int, ...], torch.Generator], Tensor]
    apply: Callable[[Tensor, Tensor, Tensor], Tensor]
    strengths: tuple[float, ...]
    unit: str
    mildest: float = 0.0


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
    shape = tuple(images.shape[1:])
    drawn = [corruption.draw(1, shape, _generator(seed, kind, index)) for index in indices]
    strength = torch.tensor(corruption.strengths[severity - 1], dtype=torch.float64)
    return corruption.apply(images, torch.cat(drawn), strength).clamp(0, 1)


def corrupt_randomly(
    images: Tensor,
    generator: torch.Generator,
    kinds: Sequence[str] = ("noise", "blur", "occlusion"),
    *,
    clean: float = 0.1,
    severity: int = 5,
) -> Tensor:
    """Images to train on, each corrupted in its own way, from one generator for the whole batch.

    Each image stays as it is with probability `clean`. Else its kind is uniform among `kinds`, and
    its strength is uniform between that kind's mildest and that of `severity`.

    Args:
        images: Floating point, (N, C, H, W), in [0, 1].
        generator: On the CPU; the same one gives the same result on every device.
        kinds: Keys of `CORRUPTIONS`.
        clean: Probability, in [0, 1].
        severity: 1 to 5; the strongest that occurs.

    Returns:
        Same shape, dtype and device, in [0, 1]; a copy.

    Raises:
        ValueError: an unknown kind or severity, no kinds, `clean` outside [0, 1], images outside
            [0, 1] or of another shape.
    """
    chosen = [_lookup(kind, severity) for kind in kinds]
    if not chosen:
        raise ValueError(f"expected at least one kind; there are {', '.join(CORRUPTIONS)}")
    if not 0 <= clean <= 1:
        raise ValueError(f"clean is a probability, so it must lie in [0, 1], found {clean}")
    _check(images)
    n, shape = len(images), tuple(images.shape[1:])
    stays, position = torch.rand(2, n, generator=generator, dtype=torch.float64)
    which = torch.randint(len(chosen), (n,), generator=generator)
    which[stays < clean] = -1
    result = images.clone()
    for index, corruption in enumerate(chosen):
        members = (which == index).nonzero().squeeze(1)
        if len(members):
            drawn = corruption.draw(len(members), shape, generator)
            span = corruption.strengths[severity - 1] - corruption.mildest
            strength = corruption.mildest + span * position[members]
            where = members.to(images.device)
            result[where] = corruption.apply(images[where], drawn, strength).clamp(0, 1)
    return result


CORRUPTIONS: Mapping[str, Corruption] = {
    "noise": Corruption(
        degrade.gaussian,
        degrade.noise,
        (0.1, 0.2, 0.3, 0.4, 0.5),
        "standard deviation of Gaussian noise",
    ),
    "blur": Corruption(
        degrade.nothing,
        degrade.blur,
        (1.0, 1.5, 2.0, 2.5, 3.0),
        "standard deviation of the blur, pixels",
    ),
    "occlusion": Corruption(
        degrade.place,
        degrade.occlusion,
        (0.2, 0.3, 0.4, 0.5, 0.6),
        "side of a grey square / shorter side of the image",
    ),
    "shot": Corruption(
        degrade.uniform,
        degrade.shot,
        (0.25, 0.5, 0.75, 1.0, 1.5),
        "standard deviation of the photon noise of a white pixel",
        mildest=0.25,
    ),
    "speckle": Corruption(
        degrade.gaussian,
        degrade.speckle,
        (0.5, 1.0, 1.5, 2.0, 3.0),
        "standard deviation of Gaussian noise / the pixel's value",
    ),
    "impulse": Corruption(
        degrade.pixels,
        degrade.impulse,
        (0.05, 0.1, 0.15, 0.2, 0.3),
        "share of pixels that are black or white",
    ),
    "dropout": Corruption(
        degrade.pixels,
        degrade.dropout,
        (0.15, 0.3, 0.45, 0.6, 0.75),
        "share of pixels that are black",
    ),
    "motion-blur": Corruption(
        degrade.direction,
        degrade.motion_blur,
        (3.0, 5.0, 7.0, 9.0, 12.0),
        "length of the path, pixels",
    ),
    "pixelate": Corruption(
        degrade.nothing,
        degrade.pixelate,
        (2.0, 3.0, 4.0, 5.0, 7.0),
        "side of a block, pixels",
        mildest=1.0,
    ),
    "contrast": Corruption(
        degrade.nothing,
        degrade.contrast,
        (0.3, 0.5, 0.65, 0.8, 0.9),
        "share of the contrast that is lost",
    ),
    "brightness": Corruption(
        degrade.nothing,
        degrade.brightness,
        (0.1, 0.2, 0.3, 0.4, 0.5),
        "added to every pixel",
    ),
    "stripe": Corruption(
        degrade.place,
        degrade.stripe,
        (0.05, 0.1, 0.15, 0.2, 0.3),
        "width of an inverted stripe / width of the image",
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
