"""Training of forecasters: settings, losses, the loop, and the errors on held-out series.

A batch holds series of 200 noisy points. Of the 100 of the window a random number is observed, the
same in all series of a batch and at times of its own in each, so that one model serves all numbers.
The other 100 are the future. The losses of all kinds are negative log-likelihoods of the same
points under Gaussian noise of the same σ:

    latent-ode    the evidence lower bound of the observed points and the future: both are decoded
                  from one draw of z(t₀), whose posterior has seen the observed points only
    gru, gru-dt   of each observed point given those before it, and of the future, for which the
                  network goes on from its own predictions, as when it forecasts; or else
                  (`future given`) from the points before

all divided by the number of coordinates, in nats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from zoo.data import spirals
from zoo.metrics.forecast import COUNTS, Error, Forecaster, forecast_error, observed
from zoo.models.gru_forecaster import GRUForecaster
from zoo.models.latent_ode import LatentODE
from zoo.registry import cards_folder, read_card
from zoo.training.randomness import batch_indices
from zoo.training.run import Run
from zoo.training.settings import Settings, SettingsError, option

__all__ = [
    "ForecastSettings",
    "all_but_last",
    "architecture",
    "draw_batch",
    "elbo",
    "errors",
    "fit",
    "network",
    "recurrent_loss",
]

POSITIVE = ("steps", "batch_size", "learning_rate", "clip", "series", "least", "noise", "warmup")
SIZES = ("latent", "hidden", "recurrent", "grid", "gru_recurrent", "gru_hidden")


@dataclass(frozen=True)
class ForecastSettings(Settings):
    """What the training of a forecaster can be told."""

    kind: Literal["latent-ode", "gru", "gru-dt"] = option(
        "latent-ode", "latent-ode, or a baseline: gru, or gru-dt, which knows the gaps"
    )
    steps: int = option(3_000, "steps of the optimiser")
    batch_size: int = option(128, "series of a batch, over all processes")
    learning_rate: float = option(0.01, "of Adam at the beginning; it falls to 0 as a cosine")
    clip: float = option(1.0, "largest norm of the gradient")
    series: int = option(10_000, "of the training set")
    least: int = option(20, "fewest observed points in training")
    most: int = option(spirals.WINDOW, "most observed points in training")
    noise: float = option(
        spirals.NOISE, "standard deviation of the likelihood, in units of the data"
    )
    warmup: int = option(300, "steps over which the weight of the divergence grows from 0 to 1")
    latent: int = option(8, "variables of the latent ODE")
    hidden: int = option(64, "width of the hidden layers of its field; its decoder has half")
    recurrent: int = option(40, "size of its encoder's state")
    grid: float = option(0.25, "its step in time")
    future: Literal["own", "given"] = option(
        "own", "what a baseline goes on from in training: its own predictions, or the points"
    )
    gru_recurrent: int = option(60, "size of the state of a baseline")
    gru_hidden: int = option(48, "width of the hidden layer of a baseline's readout")
    held_out: int = option(1_000, "test and validation series that the errors are measured on")
    tag: str = option("spirals", "tag of the weights in the card")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._more_than_zero(*POSITIVE, *SIZES, "held_out")
        if not self.least <= self.most <= spirals.WINDOW:
            raise SettingsError(
                f"most: expected {self.least} to {spirals.WINDOW} points, found {self.most}"
            )
        if self.batch_size > self.series:
            raise SettingsError(
                f"batch_size: expected at most the {self.series} series, found {self.batch_size}"
            )


def network(config: ForecastSettings, series: spirals.Spirals) -> LatentODE | GRUForecaster:
    """The model at its beginning, in train mode; it standardises as `series` asks for."""
    model: LatentODE | GRUForecaster
    if config.kind == "latent-ode":
        model = LatentODE(
            latent=config.latent,
            hidden=config.hidden,
            recurrent=config.recurrent,
            step=config.grid,
            noise=config.noise,
        )
    else:
        model = GRUForecaster(
            recurrent=config.gru_recurrent, hidden=config.gru_hidden, gaps=config.kind == "gru-dt"
        )
    points = series.noisy.flatten(0, 1)
    model.shift.copy_(points.mean(0))
    model.scale.copy_(points.std(0))
    return model.train()


def elbo(
    model: LatentODE, batch: spirals.Batch, noise: Tensor, sigma: float, weight: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """The negative evidence lower bound per coordinate, in nats, up to the Gaussians' constant.

        [ Σ (x - x̂)² / 2σ² + β KL(q ‖ N(0, I)) ] / number of coordinates

    over the observed points and the future, x̂ from one draw of z(t₀).

    Args:
        noise: ε of the draw, (B, L).
        weight: β.

    Returns:
        The bound, and its parts (detached): `mse` over all points, and `kl` per series.
    """
    seen = model.observe(batch.times, batch.values, batch.mask)
    posterior = model.encode(seen)
    times = torch.cat([batch.times, batch.times_query], dim=1)
    states = model.trajectory(posterior.draw(noise), times - seen.first.unsqueeze(1))
    points = torch.cat([batch.values, batch.targets], dim=1)
    mse = (model.decode(states) - points).square().mean()
    divergence = posterior.divergence().mean()
    loss = mse / (2 * sigma**2) + weight * divergence / points[0].numel()
    return loss, {"mse": mse.detach(), "kl": divergence.detach()}


def recurrent_loss(
    model: GRUForecaster, batch: spirals.Batch, sigma: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """The negative log-likelihood per coordinate, in nats, up to the Gaussians' constant."""
    inside, future = model(batch.times, batch.values, batch.mask, batch.times_query)
    predicted = torch.cat([inside, future], dim=1)
    mse = (predicted - torch.cat([batch.values[:, 1:], batch.targets], dim=1)).square().mean()
    return mse / (2 * sigma**2), {"mse": mse.detach()}


def all_but_last(batch: spirals.Batch) -> spirals.Batch:
    """The batch with all of the future observed but its last point."""
    times = torch.cat([batch.times, batch.times_query], dim=1)
    points = torch.cat([batch.values, batch.targets], dim=1)
    mask = torch.ones(times.shape[0], times.shape[1] - 1, dtype=torch.bool, device=times.device)
    return spirals.Batch(times[:, :-1], points[:, :-1], mask, times[:, -1:], points[:, -1:])


def fit(
    model: LatentODE | GRUForecaster,
    series: spirals.Spirals,
    config: ForecastSettings,
    run: Run,
) -> None:
    """Train `model` in place; it ends in eval mode."""
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    state = {"model": model, "optimizer": optimizer, "schedule": schedule}
    for step in run.steps(config.steps, state):
        batch = draw_batch(series, config, run, step)
        loss, terms = _loss(model, batch, config, run, step)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        run.average_gradients(model.parameters())
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        schedule.step()
        run.log(loss=loss.detach(), gradient=norm, **terms)
    model.eval()


def draw_batch(
    series: spirals.Spirals, config: ForecastSettings, run: Run, step: int
) -> spirals.Batch:
    """This process's share of the batch of one step; the targets are the future with its noise."""
    index = batch_indices(len(series), config.batch_size, config.seed, step)
    generator = run.generator("observed", step)
    count = int(torch.randint(config.least, config.most + 1, (), generator=generator))
    # What a forecaster is trained on has noise everywhere; it never sees where points really are.
    noisy = spirals.Spirals(series.times, series.noisy[index], series.noisy[index])
    whole = spirals.observe(noisy, count, generator)
    parts = (whole.times, whole.values, whole.mask, whole.times_query, whole.targets)
    return spirals.Batch(*(run.shard(part).to(run.device) for part in parts))


def errors(model: Forecaster, n: int) -> dict[str, dict[int, Error]]:
    """Split -> number of observed points -> error of the forecasts of `n` held-out series."""
    return {
        split: {count: forecast_error(model, observed(split, n, count)) for count in COUNTS}
        for split in ("validation", "test")
    }


def architecture(config: ForecastSettings, card: str) -> dict[str, int | float]:
    """What the settings change in the arguments that the architecture has in the card."""
    usual = read_card(cards_folder() / card).config
    chosen = {
        "latent": config.latent,
        "hidden": config.hidden,
        "recurrent": config.recurrent,
        "step": config.grid,
        "noise": config.noise,
    }
    return {name: value for name, value in chosen.items() if usual[name] != value}


def _loss(
    model: LatentODE | GRUForecaster,
    batch: spirals.Batch,
    config: ForecastSettings,
    run: Run,
    step: int,
) -> tuple[Tensor, Mapping[str, Tensor]]:
    if isinstance(model, GRUForecaster):
        seen = batch if config.future == "own" else all_but_last(batch)
        return recurrent_loss(model, seen, config.noise)
    noise = torch.randn(config.batch_size, model.latent, generator=run.generator("latent", step))
    weight = min(1.0, (step + 1) / config.warmup)
    return elbo(model, batch, run.shard(noise).to(run.device), config.noise, weight)
