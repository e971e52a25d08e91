"""Which noise goes with which data in a batch of flow matching.

Independent pairs (I-CFM) cross each other, so that the flow that is learnt from them has curved
paths. Pairs of the optimal transport between the two batches (OT-CFM) hardly cross: the paths are
nearly straight, few steps of a solver follow them, and the target has less variance. As batches
grow, the coupling tends to the optimal transport between the distributions.

Tong et al., "Improving and generalizing flow-based generative models with minibatch optimal
transport", TMLR 2024, arXiv 2302.00482.
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

__all__ = ["optimal_pairs"]


def optimal_pairs(noise: Tensor, data: Tensor) -> Tensor:
    """The exact optimal transport between two batches, at the cost of squared distances.

    Solved as a linear assignment in float64 on the CPU, in O(B³) at worst: about 15 ms for
    256 points in the plane, 0.1 s for 512, 0.6 s for 1,024, on one core.

    Args:
        noise: (B, ...), flattened to (B, D).
        data: of the same shape.

    Returns:
        A permutation (B,), int64, on the device of `data`: noise[i] goes with data[permutation[i]],
        so that Σ |noise[i] - data[permutation[i]]|² is as small as can be.

    Raises:
        ValueError: the shapes differ, the batch is empty, or a value is not finite.
    """
    if noise.shape != data.shape or noise.dim() < 2 or not len(noise):
        raise ValueError(
            "noise and data: expected two batches (B, ...) of one shape with B > 0, found "
            f"{tuple(noise.shape)} and {tuple(data.shape)}"
        )
    x, y = (batch.detach().flatten(1).cpu().double() for batch in (noise, data))
    # |x - y|² = |x|² + |y|² - 2 x·y, and the squares are the same for all permutations.
    cost = -(x @ y.T)
    if not cost.isfinite().all():
        raise ValueError("noise and data: expected finite values; something has diverged")
    _, columns = linear_sum_assignment(cost.numpy())
    return torch.from_numpy(columns).to(device=data.device, dtype=torch.int64)
