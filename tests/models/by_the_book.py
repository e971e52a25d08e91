"""CNN-F straight from its description: slow, stateful, obvious. The reference of the tests.

Modules remember their latent variables between calls, every operator is the textbook formula, and
the transposes are autograd's vector-Jacobian products. It shares no code with `zoo.models`; it
reads the weights of a `zoo.models.cnnf.CNNF` by name.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def norm(x: Tensor) -> Tensor:
    return x / torch.sqrt((x * x).mean(dim=(2, 3), keepdim=True) + 1e-8)


class AdaReLU:
    def __init__(self, damping: float) -> None:
        self.damping = damping
        self.g: Tensor | None = None
        self.z: Tensor

    def up(self, f: Tensor) -> Tensor:
        if self.g is not None:
            f = f + self.damping * (self.g - f)
            self.z = (f * self.g > 0).to(f.dtype)
        else:
            self.z = (f > 0).to(f.dtype)
        return self.z * f

    def down(self, g: Tensor) -> Tensor:
        self.g = g
        return self.z * g


class AdaPool:
    def __init__(self) -> None:
        self.g: Tensor | None = None
        self.positive: Tensor | None = None

    def up(self, f: Tensor) -> Tensor:
        self.size = f.shape[2:]
        largest, self.largest_at = F.max_pool2d(f, 2, return_indices=True)
        if self.g is None:
            return largest
        smallest, self.smallest_at = F.max_pool2d(-f, 2, return_indices=True)
        self.positive, self.negative = (self.g > 0).to(f.dtype), (self.g < 0).to(f.dtype)
        return self.positive * largest - self.negative * smallest

    def down(self, g: Tensor) -> Tensor:
        self.g = g
        if self.positive is None:
            return F.max_unpool2d(g, self.largest_at, 2, output_size=self.size)
        up = F.max_unpool2d(g * self.positive, self.largest_at, 2, output_size=self.size)
        low = F.max_unpool2d(g * self.negative, self.smallest_at, 2, output_size=self.size)
        return up + low


class Book:
    """The Fashion-MNIST network of a `CNNF`, by the book."""

    def __init__(self, model: nn.Module, damping: float, feedback_to: int) -> None:
        self.p = dict(model.named_parameters())
        self.damping, self.feedback_to = damping, feedback_to
        self.relu = [AdaReLU(damping) for _ in range(6)]
        self.pool = {2: AdaPool(), 3: AdaPool()}

    def conv_up(self, i: int, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.conv2d(x, self.p[f"units.{i}.weight"], padding=1)
        x = norm(x) + self.p[f"units.{i}.bias"].reshape(1, -1, 1, 1)
        features = x = self.relu[i].up(x)
        return (self.pool[i].up(x) if i in self.pool else x), features

    def conv_down(self, i: int, g: Tensor) -> tuple[Tensor, Tensor]:
        g = norm(g)
        if i in self.pool:
            g = self.pool[i].down(g)
        rendered = g = self.relu[i].down(g)
        return F.conv_transpose2d(g, self.p[f"units.{i}.weight"], padding=1), rendered

    def up(self, h: Tensor) -> tuple[Tensor, list[Tensor]]:
        features, x = [h], h
        for i in range(self.feedback_to, 4):
            x, seen = self.conv_up(i, x)
            features += [seen] if i in self.pool else []
        x = x.reshape(len(x), -1)
        for i in (4, 5):
            x = self.relu[i].up(x @ self.p[f"units.{i}.weight"].t() + self.p[f"units.{i}.bias"])
        return x @ self.p["units.6.weight"].t() + self.p["units.6.bias"], features

    def down(self, logits: Tensor) -> tuple[Tensor, list[Tensor]]:
        g = logits @ self.p["units.6.weight"]
        for i in (5, 4):
            g = self.relu[i].down(g) @ self.p[f"units.{i}.weight"]
        g, blocks = g.reshape(len(g), 64, 7, 7), []
        for i in range(3, self.feedback_to - 1, -1):
            g, rendered = self.conv_down(i, g)
            blocks += [rendered] if i in self.pool else []
        return g, [g, *reversed(blocks)]

    def run(
        self, images: Tensor, iterations: int
    ) -> tuple[list[Tensor], list[list[Tensor]], list[list[Tensor]]]:
        """Logits, features and reconstructions of every iteration."""
        h = images * 2 - 1
        for i in range(self.feedback_to):
            h, _ = self.conv_up(i, h)
        logits, features = self.up(h)
        all_logits, all_features, reconstructions = [logits], [features], []
        for _ in range(iterations):
            recon, rendered = self.down(logits)
            h = h + self.damping * (recon - h)
            logits, features = self.up(h)
            all_logits.append(logits)
            all_features.append(features)
            reconstructions.append(rendered)
        return all_logits, all_features, reconstructions
