"""The adaptive operators of CNN-F: what ReLU, pooling and convolution become under feedback.

    f bottom-up values    g top-down values at the same place    η damping

Bottom-up, the first pass is an ordinary CNN's: ReLU and max-pool. In later passes both agree in
sign with what the feedback rendered. Top-down, a convolution is read backwards, a ReLU masks what
its unit did not let through, and a pool puts a value where it came from; there are no biases.

All latent state is an explicit value (`ReLUState`, `PoolState`) that functions take and return.

Source: arXiv 2007.09200, and the code released with it.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

NORM_EPSILON = 1e-8
"""Added to the mean square in `rms_norm`; only channels that are all but dead feel it."""


class ReLUState(NamedTuple):
    """Latent state of one adaptive ReLU; shapes are those of its input."""

    drive: Tensor
    """z = [drive > 0]: what the latest bottom-up pass let through. First f, then f·g."""
    feedback: Tensor | None = None
    """g before masking, from the latest top-down pass; None before the first one."""


class PoolState(NamedTuple):
    """Latent state of one adaptive pool; shapes are those of its output."""

    position: Tensor
    """Chosen position of every cell, as an offset into the flattened (H·W) input."""
    sign: Tensor | None = None
    """Sign of g that chose: 1 the maximum, -1 the minimum, 0 neither; None in the first pass."""
    feedback: Tensor | None = None
    """g from the latest top-down pass; None before the first one."""


def where_positive(x: Tensor, drive: Tensor, leak: float = 0.0) -> Tensor:
    """x where drive > 0, else leak · x.

    The mask is never made: a boolean tensor costs several times the arithmetic that it guards. No
    gradient flows to `drive`; z is piecewise constant in it.
    """
    masked: Tensor
    if leak:
        masked = torch.ops.aten.leaky_relu_backward(x, drive.detach(), leak, False)
    else:
        masked = torch.ops.aten.threshold_backward(x, drive.detach(), 0)
    return masked


class _RMSNormBias(torch.autograd.Function):
    """x · r + b with r = (mean(x²) + ε)^-½ per image and channel; r in float32 or wider.

    With the gradient g of the output, the input's is r g - x r³ mean(x g). Writing that down takes
    fewer passes over memory than autograd's derivation, and memory is what this costs.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None) -> Tensor:
        scale = torch.rsqrt(_mean_over_map(x.square()) + NORM_EPSILON)
        ctx.save_for_backward(x, scale)
        ctx.bias_dtype = None if bias is None else bias.dtype
        if bias is None:
            return x * scale.to(x.dtype)
        return torch.addcmul(bias.to(x.dtype)[:, None, None], x, scale.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None]:
        x, scale = ctx.saved_tensors
        along = _mean_over_map(x * grad) * scale.pow(3)
        grad_x = (grad * scale.to(x.dtype)).addcmul_(x, along.to(x.dtype), value=-1)
        if not ctx.needs_input_grad[1]:
            return grad_x, None
        return grad_x, grad.sum((0, 2, 3)).to(ctx.bias_dtype)


def _mean_over_map(x: Tensor) -> Tensor:
    """Mean over (H, W), (B, C, 1, 1), in float32 or wider."""
    wide = torch.promote_types(x.dtype, torch.float32)
    # `mean` would copy a bfloat16 map to float32 first; `sum` accumulates in float32 without that.
    total = (
        x.sum((2, 3), keepdim=True)
        if x.dtype == torch.bfloat16
        else x.sum((2, 3), True, dtype=wide)
    )
    return total.to(wide) / (x.shape[2] * x.shape[3])


def rms_norm(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """Divide every channel of every image by its root mean square, then add a bias per channel.

    No mean is subtracted and no gain is learnt; statistics never cross images, so that bottom-up
    and top-down passes, and the images of a batch, stay independent.

    Args:
        x: (B, C, H, W).
        bias: (C,), bottom-up only.
    """
    normed: Tensor = _RMSNormBias.apply(x, bias)
    return normed


def ada_relu(
    f: Tensor, state: ReLUState | None, damping: float, leak: float = 0.0
) -> tuple[Tensor, ReLUState]:
    """Adaptive ReLU, bottom-up: keep f where it agrees in sign with the top-down value g.

    First pass (no g yet): max(f, 0). Later, with f ← f + η (g - f): max(f, 0) where g > 0,
    min(f, 0) where g < 0, and 0 where g = 0.

    Args:
        f: pre-activation, any shape.
        state: of the previous pass, or None in the first.
        damping: η, the step from f towards g.
        leak: what of f is let through where it does not agree: the slope of a leaky ReLU.
    """
    if state is None or state.feedback is None:
        return _rectified(f, leak), ReLUState(f.detach())
    f = torch.lerp(f, state.feedback, damping)
    drive = f.detach() * state.feedback.detach()
    return where_positive(f, drive, leak), ReLUState(drive)


def _rectified(f: Tensor, leak: float) -> Tensor:
    return F.leaky_relu(f, leak) if leak else F.relu(f)


def ada_relu_feedback(g: Tensor, state: ReLUState, leak: float = 0.0) -> tuple[Tensor, ReLUState]:
    """Adaptive ReLU, top-down: mask g with the z of the latest bottom-up pass, and remember g."""
    return where_positive(g, state.drive, leak), ReLUState(state.drive, g)


class _MaxUnpool(torch.autograd.Function):
    """`F.max_unpool2d` with a gradient that keeps the channels-last layout; autograd's does not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, kernel: int) -> Tensor:
        ctx.save_for_backward(index)
        with torch.autocast(x.device.type, enabled=False):  # it would widen to float32
            return F.max_unpool2d(x, index, [kernel, kernel])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (index,) = ctx.saved_tensors
        rows, cells = (t.permute(0, 2, 3, 1).flatten(1, 2) for t in (grad, index))  # (B, H·W, C)
        chosen = rows.gather(1, cells).unflatten(1, index.shape[2:])
        return chosen.permute(0, 3, 1, 2), None, None


def ada_pool(f: Tensor, state: PoolState | None, kernel: int) -> tuple[Tensor, PoolState]:
    """Adaptive pooling, bottom-up, over kernel × kernel cells that do not overlap.

    First pass: the maximum of each cell. Later: the maximum where g > 0, the minimum where g < 0,
    and 0 where g = 0. Where several entries of a cell tie, the first in row-major order is the
    chosen one.

    Args:
        f: (B, C, H, W) with H and W divisible by the kernel.
        state: of the previous pass, or None in the first.
        kernel: side of a cell, and the stride.
    """
    if state is None or state.feedback is None:
        pooled, index = F.max_pool2d(f, kernel, return_indices=True)
        return pooled, PoolState(index)
    # With s = sign(g), s · max(s · f) is the maximum, the minimum or 0, from one pooling. Autocast
    # widens resampling to float32; `to` brings the dtype back.
    sign = state.feedback.detach().sign()
    signed = f * F.interpolate(sign, scale_factor=float(kernel), mode="nearest").to(f.dtype)
    pooled, index = F.max_pool2d(signed, kernel, return_indices=True)
    return pooled * sign, PoolState(index, sign)


def ada_pool_feedback(g: Tensor, state: PoolState, kernel: int) -> tuple[Tensor, PoolState]:
    """Adaptive pooling, top-down: put g at the chosen position of its cell, zeros elsewhere."""
    placed = g if state.sign is None else g * state.sign.abs()
    unpooled: Tensor = _MaxUnpool.apply(placed, state.position, kernel)
    return unpooled, state._replace(feedback=g)


def conv_feedback(g: Tensor, weight: Tensor, *, stride: int = 1, padding: int) -> Tensor:
    """Wᵀ of a convolution: the same weight, read from its outputs to its inputs.

    Args:
        g: (B, out, H, W).
        weight: (out, in, k, k), of the bottom-up convolution.
        stride: of the bottom-up convolution; with stride 2 the input had even sides.
        padding: of the bottom-up convolution.
    """
    return F.conv_transpose2d(g, weight, stride=stride, padding=padding, output_padding=stride - 1)
