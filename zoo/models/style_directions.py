"""Directions in the style space of a trained StyleGAN, from its weights alone.

Every block reads the style w (S,) through an affine map, y = A w + b. A step n in w changes y by
A n, so that the unit vectors which change all blocks the most are

    argmax |A n|² = eigenvectors of AᵀA with the largest eigenvalues,

where A stacks the maps of all blocks: Shen and Zhou, "Closed-Form Factorization of Latent Semantics
in GANs", CVPR 2021, arXiv 2007.06600. No data and no labels are looked at. As in the authors'
released code every row of A, one number of a style, first gets length 1.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.models.style_generator import Epilogue

__all__ = ["Directions", "factorise", "style_directions"]


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions in a style space, that of the greatest effect first.

    Args:
        vectors: orthonormal, (K, S).
        strengths: how much each changes the styles: the eigenvalues of AᵀA, (K,).
    """

    vectors: Tensor
    strengths: Tensor

    def project(self, w: Tensor) -> Tensor:
        """Coordinates (B, K) of styles (B, S) along the directions."""
        return w @ self.vectors.T.to(w)

    def move(self, w: Tensor, index: int, distance: float) -> Tensor:
        """Styles (B, S), each moved along one direction.

        Raises:
            ValueError: if there is no such direction.
        """
        if not 0 <= index < len(self.vectors):
            raise ValueError(f"expected a direction 0 ... {len(self.vectors) - 1}, found {index}")
        return w + distance * self.vectors[index].to(w)


def factorise(weights: Iterable[Tensor], count: int, *, normalise: bool = True) -> Directions:
    """The closed-form directions of affine maps with these weights.

    Eigenvectors have no sign: here the entry of the largest size is positive.

    Args:
        weights: one matrix (outputs, S) for each map.
        count: K, at most S.
        normalise: whether rows get length 1 first; rows of zeros stay what they are.

    Raises:
        ValueError: if there are no matrices, they do not fit, or there are fewer directions.
    """
    matrices = [each.detach().double().cpu() for each in weights]
    widths = sorted({each.shape[-1] for each in matrices if each.dim() == 2})
    if len(widths) != 1 or any(each.dim() != 2 for each in matrices):
        found = ", ".join(str(tuple(each.shape)) for each in matrices) or "none"
        raise ValueError(f"expected matrices (outputs, S) with one S, found {found}")
    if not 1 <= count <= widths[0]:
        raise ValueError(f"expected 1 ... {widths[0]} directions, found {count}")
    stacked = torch.cat(matrices)
    if normalise:
        stacked = nn.functional.normalize(stacked, dim=1)
    values, vectors = torch.linalg.eigh(stacked.T @ stacked)
    # eigh gives them in ascending order, as columns.
    vectors = vectors.flip(1).T[:count]
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return Directions((vectors * largest.sign()).float(), values.flip(0)[:count].float())


def style_directions(synthesis: nn.Module, count: int, *, normalise: bool = True) -> Directions:
    """The closed-form directions of all blocks of a `Synthesis`; see `factorise`."""
    # All have the same scale at run time, 1/√S, which changes no direction.
    weights = [each.style.weight for each in synthesis.modules() if isinstance(each, Epilogue)]
    return factorise(weights, count, normalise=normalise)
