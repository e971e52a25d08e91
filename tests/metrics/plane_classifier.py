"""A classifier of two classes whose accuracy under attack is known: a plane through the images."""

import torch
from torch import Tensor, nn

from zoo import data

SHAPE = (1, 8, 8)
EPSILON = 0.02
N = 60


class Plane(nn.Module):
    """Logits ±s of s = w·x + b, so that the cross entropy grows along ∓sign(w) everywhere."""

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(64, generator=draws) / 8)
        # Half of all images on either side.
        self.bias = nn.Parameter(-self.weight.detach().sum() / 2)
        self.image_shape = SHAPE
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        score = images.flatten(1).to(self.weight.dtype) @ self.weight + self.bias
        return torch.stack([score, -score], 1)

    @torch.no_grad()
    def withstands(self, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
        """Whether the worst image within `epsilon` and in [0, 1] is right, bool (N,); in float64.

        The minimum of a linear function over a box is at the corner that its signs name.
        """
        weight, bias = self.weight.double(), self.bias.double()
        sign = 1.0 - 2.0 * labels.double()
        flat = images.double().flatten(1)
        low, high = (flat - epsilon).clamp(min=0), (flat + epsilon).clamp(max=1)
        worst = torch.where(sign[:, None] * weight > 0, low, high)
        margins = sign * (worst @ weight + bias)
        # So near to the plane that float32 would decide.
        assert margins.abs().min() > 1e-5
        return margins > 0


def planes(root: object, split: str) -> data.ImageDataset:
    """N images, most of which `Plane()` gets right."""
    draws = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (N, *SHAPE), generator=draws, dtype=torch.uint8)
    with torch.no_grad():
        labels = Plane()(data.as_float(images)).argmax(1)
    labels[::7] = 1 - labels[::7]
    return data.ImageDataset("planes", split, images, labels, ("a", "b"))
