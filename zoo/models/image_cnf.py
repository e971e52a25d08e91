"""Continuous normalising flow of images: likelihood, samples and codes by an ODE.

An image x of grey levels 0 ... 255, given as k / 255 in [0, 1], is dequantised with u ~ U[0, 1)^D,
spread over the real numbers by a logit and standardised:

    y = (k + u) / 256,   a = α + (1 - 2α) y,   w = log a - log(1 - a),   z(1) = (w - shift) / scale

and dz/dt = v(t, z) carries noise z(0) ~ N(0, I) to z(1). For the density of y

    log p(y) = log N(z(0)) - ∫₀¹ tr ∂v/∂z dt - D log scale + Σ log ((1 - 2α) / (a (1 - a)))

By Jensen's inequality E_u log p(y) - D log 256 is a lower bound of the log-probability of the grey
levels themselves, so that

    bits per dimension = 8 - log p(y) / (D log 2)

is in the mean an upper bound of theirs; a uniform model has exactly 8. The trace is estimated by
Hutchinson's εᵀ (∂v/∂z) ε with Rademacher ε, fixed through the solve.

Grathwohl et al., "FFJORD", ICLR 2019, arXiv 1810.01367 (flow and trace); Theis, van den Oord,
Bethge, "A note on the evaluation of generative models", ICLR 2016, arXiv 1511.01844
(dequantisation); Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", ICLR 2017,
arXiv 1605.08803 (logit).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from zoo.models.cnf import standard_normal
from zoo.models.images import check_images
from zoo.models.unet import UNet
from zoo.odes import Solver, exact_divergence, hutchinson_divergence, probe, solve

__all__ = ["ImageCNF", "Likelihood", "bits_per_dimension", "slerp"]

BATCH = 50
"""Images that are solved at once when no gradient is asked for."""


@dataclass(frozen=True)
class Likelihood:
    """What one solve from images to noise tells about each of B images.

    Args:
        log_prob: log p(y) of the dequantised image in [0, 1]^D, nats, (B,).
        noise: z(0), (B, C, H, W).
        energy: ∫₀¹ |v|² dt along the path, the cost of its transport, (B,).
        divergence: ∫₀¹ tr ∂v/∂z dt, by how much the flow spreads volumes there, (B,).
    """

    log_prob: Tensor
    noise: Tensor
    energy: Tensor
    divergence: Tensor


class ImageCNF(nn.Module):
    """A flow from N(0, I) to images.

    At the beginning the flow is the identity: the pixels are independent logistic-normal.

    Args:
        image_shape: (C, H, W), H and W multiples of 4.
        width: channels of the widest layer of the velocity field at half the resolution, a multiple
            of 16; see `zoo.models.unet`.
        blocks: of the velocity field at a quarter of the resolution.
        alpha: α of the logit, above 0 and below 1/2.

    Attributes:
        velocity: v(t, z) of t, () or (B,), and z (B, C, H, W).
        solver: how the ODE is solved where a call does not say otherwise.
        nfe: evaluations of the velocity that an image saw in the last call; of several batches,
            the largest.
        event_shape: (C, H, W).
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 28, 28),
        width: int = 48,
        blocks: int = 2,
        alpha: float = 1e-6,
    ) -> None:
        super().__init__()
        self.image_shape = self.event_shape = _shape(image_shape)
        if not 0 < alpha < 0.5:
            raise ValueError(f"alpha: expected a number above 0 and below 0.5, found {alpha!r}")
        self.alpha = float(alpha)
        self.velocity = UNet(self.image_shape[0], width, blocks)
        self.register_buffer("shift", torch.zeros(1))
        self.register_buffer("scale", torch.ones(1))
        self.solver = Solver()
        self.nfe = 0

    @property
    def dim(self) -> int:
        """D, numbers of an image."""
        return math.prod(self.image_shape)

    def forward(self, z: Tensor) -> Tensor:
        """Images for noise (B, C, H, W); `decode` with the model's own solver."""
        return self.decode(z)

    @torch.no_grad()
    def standardise(self, images: Tensor, generator: torch.Generator | None = None) -> Self:
        """Set `shift` and `scale` to mean and standard deviation of the logits of all pixels.

        Args:
            images: (N, C, H, W) in [0, 1].
            generator: of the dequantisation, on the CPU; torch's global one if None.
        """
        self._check_images(images)
        logits, _ = self._spread(images, _uniform(images.shape, generator))
        std, mean = torch.std_mean(logits.double())
        self.shift.copy_(mean)
        self.scale.copy_(std)
        return self

    def latent(
        self, images: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Dequantised, spread and standardised images z(1) (B, C, H, W), and log |∂z/∂y| (B,).

        Args:
            images: (B, C, H, W) in [0, 1].
            generator: of the dequantisation, on the CPU; torch's global one if None.

        Raises:
            ValueError: no such images, or none at all.
        """
        self._check_images(images)
        logits, volume = self._spread(images, _uniform(images.shape, generator))
        return (logits - self.shift) / self.scale, volume - self.dim * self.scale.log()

    def likelihood(
        self,
        images: Tensor,
        *,
        trace: Literal["hutchinson", "exact"] = "hutchinson",
        probes: int = 1,
        generator: torch.Generator | None = None,
        **solver: Any,
    ) -> Likelihood:
        """Everything that the solve from the images to their noise tells.

        With gradients on it can be differentiated, directly or with `adjoint=True`; otherwise it
        is computed in batches. The draws do not depend on them.

        Args:
            images: (B, C, H, W) in [0, 1].
            trace: Hutchinson's estimate, one vector-Jacobian product for each probe and evaluation,
                or exact, which takes D of them and is for small images.
            probes: Rademacher probes of the estimate.
            generator: of dequantisation and probes, on the CPU; torch's global one if None.
            **solver: `method`, `rtol`, `atol`, `steps`, `adjoint`; see `zoo.odes.Solver`.

        Raises:
            ValueError: images or settings that are not so.
            SolverError: the solve could not be finished.
        """
        if trace not in ("hutchinson", "exact"):
            raise ValueError(f"trace: expected hutchinson or exact, found {trace!r}")
        settings = self.solver.but(**solver)
        z, volume = self.latent(images, generator)
        drawn = probe(z, probes, generator=generator)  # also checks `probes`
        self.nfe, parts = 0, []
        for part in [slice(None)] if torch.is_grad_enabled() else _batches(len(z)):
            here = drawn[:, part] if trace == "hutchinson" else None
            parts.append(self._likelihood(z[part], volume[part], here, settings))
        return Likelihood(*(torch.cat(each) for each in zip(*parts, strict=True)))

    def log_prob(
        self,
        images: Tensor,
        *,
        trace: Literal["hutchinson", "exact"] = "hutchinson",
        probes: int = 1,
        generator: torch.Generator | None = None,
        **solver: Any,
    ) -> Tensor:
        """log p(y) of the dequantised images in [0, 1]^D, in nats: (B,). See `likelihood`.

        An unbiased draw, over u and ε, of a lower bound of log P(x) + D log 256.
        """
        found = self.likelihood(images, trace=trace, probes=probes, generator=generator, **solver)
        return found.log_prob

    def bits_per_dimension(self, images: Tensor, **options: Any) -> Tensor:
        """8 - log p(y) / (D log 2) of images, (B,); options as of `likelihood`."""
        return bits_per_dimension(self.log_prob(images, **options), self.dim)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None, **solver: Any) -> Tensor:
        """Draw images (n, C, H, W) in [0, 1]; their grey levels are (255 · images).round().

        Args:
            n: number of images.
            generator: of the CPU; torch's global one if None.
            **solver: see `likelihood`.

        Raises:
            ValueError: if `n` is less than 1.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"n: expected at least 1, found {n!r}")
        return self.decode(torch.randn(n, *self.image_shape, generator=generator), **solver)

    def encode(
        self, images: Tensor, generator: torch.Generator | None = None, **solver: Any
    ) -> Tensor:
        """Noise z(0) (B, C, H, W) of dequantised images; arguments and errors as of `likelihood`.

        `decode` gives them back to half a grey level, which is u, and the solver's error; see
        `rtol` and `atol` for less of it.
        """
        z, _ = self.latent(images, generator)
        return self._transport(z, (1.0, 0.0), solver)[-1]

    def decode(self, z: Tensor, **solver: Any) -> Tensor:
        """Images (B, C, H, W) in [0, 1] of noise of that shape; errors as of `likelihood`."""
        return self.trajectory(z, (0.0, 1.0), **solver)[-1]

    def trajectory(self, z: Tensor, times: Sequence[float] | Tensor, **solver: Any) -> Tensor:
        """The way of noise z (B, C, H, W), which belongs to the first of `times`, as images.

        Args:
            z: the state at times[0].
            times: (T,), two or more within [0, 1], strictly increasing or decreasing.

        Returns:
            (T, B, C, H, W) in [0, 1].
        """
        self._check_noise(z)
        if not all(0 <= float(t) <= 1 for t in times):
            raise ValueError(f"times: expected times from 0 to 1, found {list(map(float, times))}")
        return self._images(self._transport(z.to(self.shift), times, solver))

    def interpolate(
        self,
        a: Tensor,
        b: Tensor,
        steps: int = 8,
        generator: torch.Generator | None = None,
        **solver: Any,
    ) -> Tensor:
        """Images between a and b, (steps, B, C, H, W), along great circles of their noise.

        The first are a and the last b, to half a grey level and the solver's error.

        Args:
            a, b: (B, C, H, W) in [0, 1].
            steps: number of images, with both ends, at least 2.

        Raises:
            ValueError: other images or fewer steps, or two numbers of images.
        """
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 2:
            raise ValueError(f"steps: expected at least 2, found {steps!r}")
        if len(a) != len(b):
            raise ValueError(f"expected as many images a as b, found {len(a)} and {len(b)}")
        begin, end = self.encode(torch.cat([a, b]), generator, **solver).chunk(2)
        between = slerp(begin, end, torch.linspace(0, 1, steps).to(begin))
        return self.decode(between.flatten(0, 1), **solver).view_as(between)

    def _likelihood(
        self, z: Tensor, volume: Tensor, probes: Tensor | None, solver: Solver
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        shape, rest = z.shape, z.new_zeros(len(z), 2)

        def augmented(t: Tensor, state: Tensor) -> Tensor:
            x = state[:, :-2].view(shape)
            v, divergence = self._rates(t, x, probes)
            energy = v.flatten(1).square().sum(1)
            return torch.cat([v.flatten(1), divergence[:, None], energy[:, None]], 1)

        start = torch.cat([z.flatten(1), rest], 1)
        times = torch.tensor([1.0, 0.0]).to(z)
        solution = solve(augmented, start, times, solver, self.velocity.parameters())
        self.nfe = max(self.nfe, solution.evaluations)
        # From 1 to 0 the solve gives minus the integrals from 0 to 1.
        divergence, energy = (-solution.last[:, -2:]).unbind(1)
        noise = solution.last[:, :-2].view(shape)
        return standard_normal(noise) - divergence + volume, noise, energy, divergence

    def _rates(self, t: Tensor, x: Tensor, probes: Tensor | None) -> tuple[Tensor, Tensor]:
        if probes is None:
            return exact_divergence(lambda y: self.velocity(t, y), x)
        return hutchinson_divergence(lambda y: self.velocity(t, y), x, probes)[:2]

    def _transport(
        self, state: Tensor, times: Sequence[float] | Tensor, solver: dict[str, Any]
    ) -> Tensor:
        """The states at the times, (T, B, C, H, W)."""
        settings = self.solver.but(**solver)
        clock = torch.as_tensor(times).to(state)
        parts = [slice(None)] if torch.is_grad_enabled() else _batches(len(state))
        weights = list(self.velocity.parameters())
        solutions = [solve(self.velocity, state[part], clock, settings, weights) for part in parts]
        self.nfe = max(each.evaluations for each in solutions)
        return torch.cat([each.states for each in solutions], 1)

    def _spread(self, images: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of dequantised images, and log |∂w/∂y| (B,)."""
        x, u = images.to(self.shift), u.to(self.shift)
        # Both from sums of positive numbers: 1 - a would lose the digits of bright pixels.
        a = self.alpha + (1 - 2 * self.alpha) * (255 * x + u) / 256
        b = self.alpha + (1 - 2 * self.alpha) * (255 * (1 - x) + (1 - u)) / 256
        slopes = math.log1p(-2 * self.alpha) - a.log() - b.log()
        return a.log() - b.log(), slopes.flatten(1).sum(1)

    def _images(self, z: Tensor) -> Tensor:
        """Images of standardised logits: the middle of a grey level's interval is that level."""
        a = torch.sigmoid(self.shift + self.scale * z)
        y = (a - self.alpha) / (1 - 2 * self.alpha)
        return ((256 * y - 0.5) / 255).clamp(0, 1)

    def _check_images(self, images: Tensor) -> None:
        check_images(images, self.image_shape, self.shift.dtype)
        if not len(images):
            raise ValueError("images: expected at least one, found an empty batch")

    def _check_noise(self, z: Tensor) -> None:
        if tuple(z.shape[1:]) != self.image_shape or not z.is_floating_point() or not len(z):
            expected = ", ".join(map(str, self.image_shape))
            found = f"{z.dtype} {tuple(z.shape)}"
            raise ValueError(f"z: expected floating point (B, {expected}), B > 0, found {found}")
        if not bool(z.isfinite().all()):
            count = int((~z.flatten(1).isfinite()).any(1).sum())
            raise ValueError(f"z: expected finite numbers, found NaN or inf in {count} of {len(z)}")


def bits_per_dimension(log_prob: Tensor, dim: int) -> Tensor:
    """8 - log p / (D log 2) of log-densities (B,) of images dequantised to [0, 1]^D."""
    return 8 - log_prob / (dim * math.log(2))


def slerp(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    """Points on the great circles from a to b, both (B, ...), at shares (S,) of the angle.

    With θ the angle between a and b: (sin((1 - s) θ) a + sin(s θ) b) / sin θ, which also carries
    the norm of the one over to that of the other. The straight line where they are parallel.

    Returns:
        (S, B, ...).
    """
    extra = [1] * (a.dim() - 1)
    cosine = nn.functional.cosine_similarity(a.flatten(1), b.flatten(1)).clamp(-1, 1)
    theta = cosine.arccos().view(-1, *extra)
    s = shares.view(-1, 1, *extra)
    narrow = theta.sin() < 1e-4
    safe = torch.where(narrow, 1, theta)
    first = torch.where(narrow, 1 - s, ((1 - s) * safe).sin() / safe.sin())
    last = torch.where(narrow, s, (s * safe).sin() / safe.sin())
    return first * a + last * b


def _batches(n: int) -> list[slice]:
    return [slice(first, first + BATCH) for first in range(0, n, BATCH)]


def _uniform(shape: torch.Size, generator: torch.Generator | None) -> Tensor:
    """Numbers in [0, 1), float32 for every model, so that its dtype does not change them."""
    return torch.rand(shape, generator=generator)


def _shape(image_shape: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(image_shape)
    whole = all(isinstance(each, int) and each > 0 for each in shape)
    if len(shape) != 3 or not whole or shape[1] % 4 or shape[2] % 4:
        raise ValueError(
            f"image_shape: expected (C, H, W) with H and W multiples of 4, found {image_shape!r}"
        )
    return shape
