"""Fitting forecasters of decaying turbulence to windows of simulations.

All of them by the same loss, the mean over windows and times of

    (ln ε - ln ε̂)² + w (ln k - ln k̂)²

Of an ensemble each member has its own initial weights and its own batches, and they are trained at
once. A closure with one or two numbers is fitted to all windows together instead.
"""

import torch
from torch import Tensor, nn

from zoo.models.k_epsilon import KEpsilon
from zoo.models.turbulence import TurbulenceForecaster
from zoo.models.turbulence_lstm import TurbulenceLSTM
from zoo.models.turbulence_ode import TurbulenceODE
from zoo.training.run import Run
from zoo.training.turbulence.settings import TurbulenceSettings
from zoo.training.turbulence.windows import Windows

__all__ = ["Network", "fit_closure", "fit_network", "loss", "mean_loss", "standardise"]

Network = TurbulenceODE | TurbulenceLSTM


def loss(model: TurbulenceForecaster, windows: Windows, energy: float) -> Tensor:
    """The loss of each member, (M,).

    Args:
        windows: of tensors (W,), or (M, W) with windows of its own for each member.
        energy: w.
    """
    tau = windows.tau.expand(*windows.mask.shape)
    errors = (model.curves(windows.start, tau) - windows.targets).square()
    weighted = (energy * errors[..., 0] + errors[..., 1]) * windows.mask
    # Each window counts alike, however short.
    return (weighted.sum(-1) / windows.mask.sum(-1)).mean(-1)


@torch.no_grad()
def mean_loss(model: TurbulenceForecaster, windows: Windows, energy: float) -> float:
    """The loss of the members' mean."""
    tau = windows.tau.expand(*windows.mask.shape)
    errors = (model.curves(windows.start, tau).mean(0) - windows.targets).square()
    weighted = (energy * errors[..., 0] + errors[..., 1]) * windows.mask
    return float((weighted.sum(-1) / windows.mask.sum(-1)).mean())


@torch.no_grad()
def standardise(model: Network, windows: Windows) -> None:
    """Tell a network what the starts of its training are like: mean, deviation and range."""
    features = model.features(windows.start)
    model.shift.copy_(features.mean(0))
    # A group that does not vary stays as it is.
    model.scale.copy_(features.std(0).clamp(min=1e-6))
    model.lowest.copy_(features.amin(0))
    model.highest.copy_(features.amax(0))


def fit_network(
    model: Network,
    windows: Windows,
    config: TurbulenceSettings,
    run: Run,
    *,
    phase: str,
    learning_rate: float,
    decay: float,
) -> None:
    """Train all members in place; they end in eval mode.

    Args:
        phase: name of this training, by which its progress, checkpoints and batches go.
        learning_rate: of Adam at the beginning.
        decay: of the weights, decoupled (Loshchilov, Hutter 2019).
    """
    standardise(model, windows)
    model.train()
    usual = model.step
    if isinstance(model, TurbulenceODE):
        # Coarse steps learn as well, at half the price.
        model.step = config.step
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=decay)
    steps = config.steps if isinstance(model, TurbulenceODE) else config.lstm_steps
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    state = {"model": model, "optimizer": optimizer, "schedule": schedule}
    shape = (model.members, min(config.batch_size, len(windows)))
    for step in run.steps(steps, state, phase=phase):
        # The batches do not depend on the try, so that tries differ in what they try alone.
        generator = run.generator("windows", step)
        index = torch.randint(len(windows), shape, generator=generator)
        losses = loss(model, windows.take(index.to(run.device)), config.energy)
        optimizer.zero_grad()
        losses.sum().backward()  # type: ignore[no-untyped-call]
        clip_members(model, config.clip)
        optimizer.step()
        schedule.step()
        run.log(loss=losses.detach().mean())
    model.step = usual
    model.eval()


def clip_members(model: nn.Module, largest: float) -> None:
    """Shorten the gradient of each member, along the first dimension, to a norm of `largest`."""
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    squares = torch.stack([each.square().flatten(1).sum(1) for each in gradients]).sum(0)
    factor = (largest / squares.sqrt().clamp(min=1e-12)).clamp(max=1)
    for each in gradients:
        each.mul_(factor.view(-1, *[1] * (each.dim() - 1)))


def fit_closure(model: KEpsilon, windows: Windows, energy: float) -> None:
    """Fit the one or two numbers of a closure in place, by L-BFGS on all windows; eval mode."""
    # The first step is at most as long as the learning rate: one of 1 could end where C is so small
    # that a flow comes to rest.
    optimizer = torch.optim.LBFGS(
        model.parameters(),
        lr=0.2,
        max_iter=100,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(model, windows, energy).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    model.eval()
