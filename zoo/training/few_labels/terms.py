"""The terms of the deconvolutional model's objective, each a function that has no settings.

Source: arXiv 1811.02657 for what they mean; forms and constants of the code released with it,
except `path_normalisation`, whose reference is one path for a class instead of one for an image.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.batch_norm import Moments
from zoo.training.feedback import mean_square

__all__ = [
    "cross_entropy",
    "entropy",
    "moment_matching",
    "path_normalisation",
    "reconstruction",
]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-mean log softmax(logits)_y, a scalar, of the best or of the worst latents.

    Args:
        logits: (B, K).
        labels: y, (B,).
    """
    return F.cross_entropy(logits.float(), labels)


def reconstruction(images: Tensor, rendered: Tensor) -> Tensor:
    """½ mean (x - x̂)², a scalar; images (B, C, H, W) as the network sees and renders them."""
    return mean_square(images - rendered) / 2


def entropy(logits: Tensor) -> Tensor:
    """Mean over images of -Σ_y p_y log(K p_y), a scalar in [-log K, 0]: entropy less log K.

    Args:
        logits: (B, K); p is their softmax.
    """
    log_p = F.log_softmax(logits.float(), 1)
    return -(log_p.exp() * (log_p + math.log(logits.shape[1]))).sum(1).mean()


def moment_matching(pairs: Sequence[tuple[Moments, Moments]]) -> Tensor:
    """Σ over layers of the mean over channels of KL(N(top-down) ‖ N(bottom-up)), a scalar.

    It keeps what is rendered at a layer where the convolution of real images lies, in place of the
    theory's assumption that rendered maps are not negative. With Δ the difference of the means,

        KL = ½ Δ² / σ_up² + ½ σ_down² / σ_up² - ½ log(σ_down² / σ_up²) - ½

    Args:
        pairs: of every layer, moments of the map from above and of the convolution's output.
    """
    total = []
    for down, up in pairs:
        variance = up.variance.float() + 1e-5
        ratio = (down.variance.float() + 1e-5) / variance
        distance = (down.mean.float() - up.mean.float()).square() / variance
        total.append(0.5 * (distance + ratio - ratio.log() - 1).mean())
    return torch.stack(total).sum()


def path_normalisation(scores: Tensor, peaks: Tensor, labels: Tensor, size: int) -> Tensor:
    """Mean of |peak(y) - score(y, z)| / size, a scalar: how far paths are from the best ones.

    0 where no bias prefers a path to another. Divided by the number of values of an image, as in
    `reconstruction`, so that both are parts of one -log p(x, z | y) with a noise of variance 1.

    Args:
        scores: Σ_ℓ ⟨b(ℓ), s(ℓ) ∘ h(ℓ)⟩ of the rendered paths, (B,).
        peaks: of every class, the score of the path that the biases choose, (K,).
        labels: y, the class that was rendered, (B,).
        size: number of values of an image.
    """
    return (peaks.float()[labels] - scores.float()).abs().mean() / size
