"""A feedback classifier whose every view is linear in the image, so that the worst case is known.

Two classes compete, with logits ±(w·x + b) of a pass; a third is never near. The output is the mean
of two passes with weights of their own.
"""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

SHAPE = (1, 4, 4)
PIXELS = 16
EPSILON = 0.06
VIEWS = ("output", "first pass", "last")


class LinearViews(nn.Module):
    """`feedback=False` makes it a plain model with one view, that of the output."""

    def __init__(self, seed: int = 0, *, feedback: bool = True) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(seed)
        common = torch.randn(PIXELS, generator=draws)
        own = 0.4 * torch.randn(2, PIXELS, generator=draws)
        self.weight = nn.Parameter(common + own)
        # Half of all images on either side.
        self.bias = nn.Parameter(-self.weight.detach().sum(1) / 2)
        self.iterations = 1 if feedback else 0
        self.prediction = "average"
        self.eval()

    def passes(self, images: Tensor) -> list[Tensor]:
        scores = images.flatten(1) @ self.weight.T + self.bias
        far = torch.full_like(scores[:, 0], -50)
        return [torch.stack([s, -s, far], 1) for s in scores.unbind(1)]

    def forward(self, images: Tensor, iterations: int | None = None) -> Tensor:
        passes = self.passes(images)
        return passes[0] if iterations == 0 else torch.stack(passes).mean(0)

    def trajectory(self, images: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.passes(images))

    @torch.no_grad()
    def withstands(self, view: str, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
        """Whether the worst image within `epsilon` and in [0, 1] is still right, bool (N,).

        The minimum of a linear function over a box is at the corner that its signs name; float64.
        """
        rows = {"output": [0, 1], "first pass": [0], "last": [1]}[view]
        weight, bias = self.weight[rows].double().mean(0), self.bias[rows].double().mean()
        sign = 1.0 - 2.0 * labels.double()
        towards = sign[:, None] * weight
        flat = images.double().flatten(1)
        low, high = (flat - epsilon).clamp(min=0), (flat + epsilon).clamp(max=1)
        worst = torch.where(towards > 0, low, high)
        margins = (towards * worst).sum(1) + sign * bias
        # So near to the boundary that float32 would decide.
        assert margins.abs().min() > 1e-4
        return margins > 0


def pairs(n: int = 40, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Images (n, *SHAPE) in [0, 1], and labels that `LinearViews()` mostly gets right, int64."""
    draws = torch.Generator().manual_seed(seed)
    images = torch.rand(n, *SHAPE, generator=draws)
    with torch.no_grad():
        labels = LinearViews()(images).argmax(1)
    labels[:3] = 1 - labels[:3]
    return images, labels
