"""Training an image flow by conditional flow matching with minibatch optimal transport.

Noise x₀ and dequantised, spread and standardised images x₁ are paired by the optimal transport
between the two halves of a batch, joined by straight lines x_t = (1 - t) x₀ + t x₁, and the
velocity is regressed on their direction:

    E s(t)² |v(t, x_t) - (x₁ - x₀)|² / D,     s² = t² + (1 - t)²

The weight makes the regression of the network inside of v, see `zoo.models.unet`, one at unit
variance. Times are drawn with a density ∝ 1 / (1 + late - t): what a likelihood has to know, the
distribution of the fine detail, is learnt at the end of the path. (For a stochastic path with the
same marginals, the bound on the likelihood has the weight t / (1 - t); Song et al., "Maximum
Likelihood Training of Score-Based Diffusion Models", NeurIPS 2021, arXiv 2101.09258.)

Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023, arXiv 2210.02747; Tong et al.,
"Improving and generalizing flow-based generative models with minibatch optimal transport", TMLR
2024, arXiv 2302.00482.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from zoo.data import as_float
from zoo.models.image_cnf import ImageCNF
from zoo.training.ema import EMA
from zoo.training.feedback import half_precision
from zoo.training.flows.coupling import optimal_pairs
from zoo.training.randomness import batch_indices
from zoo.training.run import Run, Stateful
from zoo.training.settings import Settings, SettingsError, option

__all__ = ["ImageFlowSettings", "draw_times", "fit", "flow_matching_loss"]

POSITIVE = ("steps", "batch_size", "learning_rate", "warmup", "late", "clip", "width", "blocks")
STANDARD = 10_000
"""Training images that mean and deviation of the logits are taken from."""


@dataclass(frozen=True)
class ImageFlowSettings(Settings):
    """What a recipe of an image flow can be told."""

    steps: int = option(100_000, "steps of the optimiser")
    batch_size: int = option(128, "images of a batch, over all processes")
    learning_rate: float = option(1e-3, "of Adam, after the warm-up; it ends at 0 as a cosine")
    warmup: int = option(200, "steps until the learning rate is reached")
    clip: float = option(1.0, "largest norm of the gradient")
    ema: float = option(0.999, "decay of the moving average of the weights, which the card gets")
    coupling: Literal["optimal", "independent"] = option(
        "optimal", "pairs of noise and images: optimal transport within the batch, or as drawn"
    )
    late: float = option(0.1, "times have a density of 1 / (1 + late - t); large: uniform")
    width: int = option(48, "channels of the widest layers at half the resolution")
    blocks: int = option(2, "residual blocks at a quarter of the resolution")
    alpha: float = option(1e-6, "of the logit, see `ImageCNF`")
    precision: Literal["float32", "bfloat16"] = option(
        "float32", "of convolutions and activations; the weights themselves stay in float32"
    )
    tag: str = option("fashion-mnist", "tag of the weights in the card")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._more_than_zero(*POSITIVE)
        if not 0 <= self.ema < 1:
            raise SettingsError(f"ema: expected a number in [0, 1), found {self.ema}")
        if not 0 < self.alpha < 0.5:
            raise SettingsError(f"alpha: expected a number in (0, 0.5), found {self.alpha}")
        if self.width % 16:
            raise SettingsError(f"width: expected a multiple of 16, found {self.width}")


def draw_times(n: int, late: float, generator: torch.Generator | None = None) -> Tensor:
    """Times (n,) in [0, 1] with density ∝ 1 / (1 + late - t), by the inverse of their law."""
    u = torch.rand(n, generator=generator)
    return (1 + late - (1 + late) * (late / (1 + late)) ** u).clamp(0, 1)


def flow_matching_loss(velocity: nn.Module, noise: Tensor, data: Tensor, times: Tensor) -> Tensor:
    """Weighted mean square of v(t, x_t) - (x₁ - x₀), a mean over images and numbers.

    Args:
        velocity: of times (B,) and images (B, C, H, W).
        noise: x₀, (B, C, H, W).
        data: x₁, paired with the noise.
        times: (B,).
    """
    t = times[:, None, None, None]
    error: Tensor = velocity(times, torch.lerp(noise, data, t)).float() - (data - noise)
    weight = t.square() + (1 - t).square()
    return (weight * error.square()).mean()


def fit(model: ImageCNF, images: Tensor, config: ImageFlowSettings, run: Run) -> EMA[ImageCNF]:
    """Train `model` in place; return its moving average. Both end in eval mode.

    Args:
        images: the training set, uint8 (N, C, H, W).
    """
    # Channels last is what convolutions are fastest in, the more so in bfloat16.
    model.to(run.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    images = images.to(run.device)
    model.standardise(as_float(images[:STANDARD]), run.generator("standardise"))
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(step, config))
    average = EMA(model, config.ema)
    state: dict[str, Stateful] = {
        "model": model,
        "ema": average,
        "optimizer": optimizer,
        "schedule": schedule,
    }
    for step in run.steps(config.steps, state):
        noise, data, times = (run.shard(each) for each in _draw(model, images, config, run, step))
        with half_precision(run.device, config.precision):
            loss = flow_matching_loss(model.velocity, noise, data, times)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        run.average_gradients(model.parameters())
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        schedule.step()
        # In the first steps the average is a shorter one, or the beginning would stay for long.
        average.update(model, min(config.ema, (step + 1) / (step + 10)))
        run.log(loss=loss.detach(), gradient=norm)
    model.eval()
    return average


def factor(step: int, config: ImageFlowSettings) -> float:
    """Share of the learning rate at a step: a linear warm-up times a cosine that ends at 0."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(step / config.steps, 1.0)))
    return min(1.0, (step + 1) / config.warmup) * cosine


@torch.no_grad()
def _draw(
    model: ImageCNF, images: Tensor, config: ImageFlowSettings, run: Run, step: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Noise, the images that go with it, and times, for all processes together."""
    generator = run.generator("flow", step)
    index = batch_indices(len(images), config.batch_size, config.seed, step).to(run.device)
    data, _ = model.latent(as_float(images[index]), generator)
    noise = torch.randn(data.shape, generator=generator).to(run.device)
    times = draw_times(len(data), config.late, generator).to(run.device)
    if config.coupling == "optimal":
        data = data[optimal_pairs(noise, data)]
    return noise, data, times
