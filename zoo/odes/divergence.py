"""The divergence of a field by automatic differentiation: exactly, or in the mean over probes.

Networks that know their own divergence (`zoo.models.velocity`) need none of this; it is for all
others, and what they are checked against.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

__all__ = ["exact_divergence", "hutchinson_divergence", "probe"]


def exact_divergence(field: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The field and its divergence, by one vector-Jacobian product per dimension.

    Args:
        field: from (B, *shape) to the same shape, each example by itself.
        x: (B, *shape).

    Returns:
        The field (B, *shape), and tr ∂f/∂x (B,). Both can be differentiated when gradients are on.
    """
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_(True)
        value = field(x)
        columns = value.flatten(1)
        divergence = torch.zeros(len(x), dtype=value.dtype, device=value.device)
        for index in range(columns.shape[1]):
            (row,) = torch.autograd.grad(
                columns[:, index].sum(), x, create_graph=keep, retain_graph=True
            )
            divergence = divergence + row.flatten(1)[:, index]
    return (value, divergence) if keep else (value.detach(), divergence.detach())


def hutchinson_divergence(
    field: Callable[[Tensor], Tensor], x: Tensor, probes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The field and an estimate of its divergence, εᵀ (∂f/∂x) ε averaged over probes.

    Unbiased when the probes have mean 0 and covariance I. Its variance with one probe is
    2 Σ_{i≠j} S_ij² for Rademacher and 2 ‖S‖² for Gaussian probes, S = (J + Jᵀ)/2. Within one solve
    the probes must stay the same, or the right-hand side is no function (Grathwohl et al. 2019).

    Args:
        field: from (B, *shape) to the same shape, each example by itself.
        x: (B, *shape).
        probes: (P, B, *shape).

    Returns:
        The field (B, *shape), the estimate (B,), and that of ‖J‖² in the Frobenius norm (B,), which
        the same products give: E ‖εᵀJ‖² (Finlay et al. 2020).
    """
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_(True)
        value = field(x)
        rows = [
            torch.autograd.grad(value, x, each, create_graph=keep, retain_graph=True)[0]
            for each in probes
        ]
        products = torch.stack(rows)
        divergence = (products * probes).flatten(2).sum(2).mean(0)
        squared = products.square().flatten(2).sum(2).mean(0)
    if keep:
        return value, divergence, squared
    return value.detach(), divergence.detach(), squared.detach()


def probe(
    x: Tensor,
    count: int = 1,
    *,
    law: Literal["rademacher", "gaussian"] = "rademacher",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw probes (count, *x.shape) with mean 0 and covariance I.

    Rademacher probes have the smaller variance; they are exact for a diagonal Jacobian. Drawn on
    the CPU, so that the device does not change them.

    Raises:
        ValueError: fewer than one probe, or another law.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"probes: expected at least 1, found {count!r}")
    shape = (count, *x.shape)
    if law == "rademacher":
        drawn = torch.randint(0, 2, shape, generator=generator).to(x.dtype) * 2 - 1
    elif law == "gaussian":
        drawn = torch.randn(shape, generator=generator, dtype=x.dtype)
    else:
        raise ValueError(f"law: expected rademacher or gaussian, found {law!r}")
    return drawn.to(x.device)
