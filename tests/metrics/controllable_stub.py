"""Painters of made-up scenes that are drawn from codes by a formula, and readers of them.

A scene of two factors is a picture 8 × 8 whose left half has the grey level of the first factor and
whose right half has that of the second.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.data.robot_scenes import Scenes
from zoo.models.codes import Layout
from zoo.models.factors import Factor

SIDE = 64
"""Of the images."""

FACTORS = (
    Factor("camera_height", 4, "left half"),
    Factor("wall_color", 4, "right half"),
)
SHAPED = (Factor("object_shape", 3, "left half", categorical=True), FACTORS[1])


def paint(scalars: Tensor) -> Tensor:
    """Images (N, 3, S, S) in [0, 1] of two numbers each, (N, 2)."""
    halves = scalars.clamp(0, 1)[:, None, None, :].repeat_interleave(SIDE // 2, dim=3)
    return halves.expand(-1, 3, SIDE, -1).contiguous()


def read(images: Tensor) -> Tensor:
    """The two numbers (N, 2) of images."""
    half = images.shape[-1] // 2
    return torch.stack([images[..., :half].mean((1, 2, 3)), images[..., half:].mean((1, 2, 3))], 1)


class Reader(nn.Module):
    """Reads the two factors; with `crossed` each for the other."""

    def __init__(self, factors: tuple[Factor, ...] = FACTORS, crossed: bool = False) -> None:
        super().__init__()
        self.layout, self.crossed = Layout(factors), crossed
        self.image_shape = (3, SIDE, SIDE)
        self.weight = nn.Parameter(torch.zeros(()))

    @property
    def factors(self) -> tuple[Factor, ...]:
        return self.layout.factors

    def encode(self, images: Tensor) -> Tensor:
        found = read(images)
        found = found.flip(1) if self.crossed else found
        parts = []
        for factor, column in zip(self.factors, found.unbind(1), strict=True):
            if factor.categorical:
                nearest = (column * (factor.values - 1)).round().long()
                parts.append(nn.functional.one_hot(nearest, factor.values).float())
            else:
                parts.append(column[:, None])
        return torch.cat(parts, 1)

    def features(self, images: Tensor) -> Tensor:
        return read(images)


class Painter(Reader):
    """Paints what it is told, with faults that can be dialled.

    Args:
        leak: how much of the first code is added to the second half.
        noise: of z on the second half.
        deaf: whether it does not hear its codes.
        shrink: how far grey levels are drawn to the middle.
    """

    def __init__(
        self,
        factors: tuple[Factor, ...] = FACTORS,
        *,
        leak: float = 0.0,
        noise: float = 0.0,
        deaf: bool = False,
        shrink: float = 0.0,
    ) -> None:
        super().__init__(factors)
        self.leak, self.noise, self.deaf, self.shrink = leak, noise, deaf, shrink

    def latent(self, n: int, generator: torch.Generator | None) -> Tensor:
        return torch.randn(n, 2, generator=generator)

    def forward(self, z: Tensor, codes: Tensor) -> Tensor:
        scalars = z.sigmoid() if self.deaf else self.layout.scalars(codes)
        first, second = scalars.unbind(1)
        second = second * (1 - self.leak) + self.leak * first + self.noise * z[:, 1]
        return paint(torch.lerp(torch.stack([first, second], 1), torch.tensor(0.5), self.shrink))


class Repainter(Reader):
    """Edits the wall, the second half, and moves the first by `leak`."""

    golden_row = "image-editing"

    def __init__(self, *, leak: float = 0.0, short: float = 0.0) -> None:
        super().__init__((FACTORS[1],))
        self.leak, self.short = leak, short

    def latent(self, n: int, generator: torch.Generator | None) -> Tensor:
        return torch.randn(n, 2, generator=generator)

    def encode(self, images: Tensor) -> Tensor:
        return read(images)[:, 1:]

    def forward(self, images: Tensor, z: Tensor, codes: Tensor) -> Tensor:
        first = read(images)[:, 0]
        moved = torch.where(first < 0.5, first + self.leak, first - self.leak)
        return paint(torch.stack([moved, codes[:, 0] * (1 - self.short)], 1))


@dataclass(frozen=True)
class Known:
    """Scenes whose factors are drawn at random, as `robot_scenes.load` would give them."""

    factors: tuple[Factor, ...] = FACTORS

    def load(self, n: int, split: str = "test") -> Scenes:
        stream = torch.Generator().manual_seed(7 if split == "test" else 8)
        columns = [torch.randint(each.values, (n,), generator=stream) for each in self.factors]
        indices = torch.stack(columns, 1)
        layout = Layout(self.factors)
        images = paint(layout.scalars(layout.encode(indices)))
        return Scenes((images * 255).round().to(torch.uint8), indices, self.factors)
