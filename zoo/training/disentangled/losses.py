"""The losses of a generator that is told codes and an encoder that reads them, named by function.

Beside the adversarial loss and its penalty there is one kind of loss, the error of a code that is
read from an image. What differs is where the image and its code come from: from the generator and
the codes that it was told; from the labelled images; from mixtures of both (MixUp: Zhang et al.,
ICLR 2018, arXiv 1710.09412), which keep the encoder smooth between the few labels.

After the predecessor code of Nie et al., "Semi-Supervised StyleGAN for Disentanglement Learning",
ICML 2020, arXiv 2003.03461. The weights of the paper itself could not be checked; mixing labelled
with generated pairs follows a description of it, not its text.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.codes import Layout

__all__ = ["code_error", "deceive", "discriminate", "mix", "r1_penalty"]

SAFE = 1e-12
"""Added under the root of the norm, whose gradient at 0 is not defined."""


def discriminate(real: Tensor, fake: Tensor) -> Tensor:
    """softplus(-D(x)) + softplus(D(G(z, c))): what the discriminator minimises.

    Args:
        real: logits (B,) of real images.
        fake: logits (B,) of generated ones.
    """
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def deceive(fake: Tensor) -> Tensor:
    """softplus(-D(G(z, c))): what the generator minimises, without saturation."""
    return F.softplus(-fake).mean()


def r1_penalty(images: Tensor, logits: Tensor, weight: float = 10.0) -> Tensor:
    """weight / 2 · |∇ D(x)|², the mean over the images.

    Mescheder, Geiger, Nowozin, "Which training methods for GANs do actually converge?", ICML 2018,
    arXiv 1801.04406, equation 9.

    Args:
        images: real images (B, C, H, W) that require gradients.
        logits: (B,), computed from them.
        weight: γ there.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return weight / 2 * gradient.square().sum((1, 2, 3)).mean()


def code_error(raw: Tensor, codes: Tensor, layout: Layout) -> Tensor:
    """|E(x) - c| over the ordinal factors plus the cross-entropy of every categorical one.

    The norm is not squared. The mean over the images.

    Args:
        raw: what the encoder says, (B, K): numbers, and logits for categorical factors.
        codes: (B, K); those of a categorical factor are probabilities.
        layout: which columns are whose.
    """
    ordinal = [layout.columns(each.name).start for each in layout.factors if not each.categorical]
    error = raw.new_zeros(len(raw))
    if ordinal:
        difference = raw[:, ordinal] - codes[:, ordinal]
        error = (difference.square().sum(1) + SAFE).sqrt()
    for factor in layout.factors:
        if factor.categorical:
            columns = layout.columns(factor.name)
            error = error + F.cross_entropy(raw[:, columns], codes[:, columns], reduction="none")
    return error.mean()


def mix(images: Tensor, codes: Tensor, pairs: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Mixtures λ a + (1 - λ) b of images and of their codes.

    Args:
        images: (B, C, H, W).
        codes: theirs, (B, K).
        pairs: the positions of a and of b among them, (2, M).
        share: λ, (M,) in [0, 1], usually from a Beta(ξ, ξ).
    """
    a, b = pairs
    mixed = torch.lerp(images[b], images[a], share[:, None, None, None])
    return mixed, torch.lerp(codes[b], codes[a], share[:, None])
