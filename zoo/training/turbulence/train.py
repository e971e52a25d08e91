"""The neural ODE of decaying turbulence and all that it is compared with, on the same windows.

The two networks, the neural ODE and the LSTM, have about the same number of parameters, see the
same inputs, are trained for about the same time, and have the same tries, every combination of
`learning_rates` and `decays`; of each kind the try with the smallest loss on the validation runs is
kept. The test runs are not touched.

A closure has no settings to try. It is fitted three times: to all windows, as the networks are; to
those that start at the peak alone; and to those of the self-similar stage alone. The last two know
where they will be asked, which the networks do not: they are the best that their form can do there.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from zoo.data.decaying_turbulence import Run as Simulation
from zoo.models.k_epsilon import KEpsilon
from zoo.models.turbulence import TurbulenceForecaster
from zoo.models.turbulence_lstm import TurbulenceLSTM
from zoo.models.turbulence_ode import TurbulenceODE
from zoo.training.randomness import seed_everything
from zoo.training.run import Run
from zoo.training.turbulence.fit import Network, fit_closure, fit_network, mean_loss
from zoo.training.turbulence.settings import TurbulenceSettings
from zoo.training.turbulence.windows import Windows, cut

__all__ = ["Trained", "Try", "network", "train"]

CONSTANTS: Mapping[str, float] = {"k-epsilon, 1.92": 1.92, "k-epsilon, 11/6": 11 / 6}
"""Closures that nothing is fitted of."""


@dataclass(frozen=True)
class Try:
    """One training of a network.

    Args:
        kind: `ode` or `lstm`.
        learning_rate, decay: what was tried.
        training, validation: loss of the members' mean on all windows of these runs.
        chosen: whether it is the best of its kind.
    """

    kind: str
    learning_rate: float
    decay: float
    training: float
    validation: float
    chosen: bool = False


@dataclass(frozen=True)
class Trained:
    """What a training leaves, on the CPU and in eval mode.

    Args:
        model: the neural ODE.
        baselines: what it is compared with, by name.
        history: all tries, in order.
    """

    model: TurbulenceODE
    baselines: Mapping[str, TurbulenceForecaster]
    history: tuple[Try, ...]


def train(
    config: TurbulenceSettings,
    training: Sequence[Simulation],
    validation: Sequence[Simulation],
    run: Run,
) -> Trained:
    """Train everything.

    Args:
        training: runs to learn from.
        validation: runs by which tries are compared.
        run: gives progress, checkpoints and the device.

    Raises:
        ValueError: the runs are too short for any window.
    """
    windows, held_out = (_windows(runs, config).to(run.device) for runs in (training, validation))
    model, tries = _best("ode", windows, held_out, config, run)
    other, more = _best("lstm", windows, held_out, config, run)
    assert isinstance(model, TurbulenceODE)
    baselines = {**closures(training, config), "LSTM": other.cpu()}
    return Trained(model.cpu(), baselines, (*tries, *more))


def closures(
    runs: Sequence[Simulation], config: TurbulenceSettings
) -> dict[str, TurbulenceForecaster]:
    """The closures, fitted as far as there is anything to fit."""
    found: dict[str, TurbulenceForecaster] = {
        name: KEpsilon(value).eval() for name, value in CONSTANTS.items()
    }
    windows = {
        "": _windows(runs, config),
        " at the peak": _windows(runs, config, first=0.0, last=0.0),
        " self-similar": _windows(runs, config, first=1.5, last=1.5, horizon=0.71),
    }
    for title, slope in {"constant": None, "C(Re_T)": 0.0}.items():
        for where, each in windows.items():
            model = KEpsilon(1.5, slope)
            fit_closure(model, each, config.energy)
            found[f"k-epsilon, {title} fitted{where}"] = model
    return found


def network(kind: str, config: TurbulenceSettings) -> Network:
    """An untrained network, `ode` or `lstm`, by torch's global generator."""
    shared = {"members": config.members, "encoder": config.encoder}
    if kind == "lstm":
        return TurbulenceLSTM(config.inputs, recurrent=config.recurrent, **shared)
    return TurbulenceODE(config.inputs, latent=config.latent, hidden=config.hidden, **shared)


def _best(
    kind: str, windows: Windows, held_out: Windows, config: TurbulenceSettings, run: Run
) -> tuple[Network, list[Try]]:
    """The try with the smallest loss on held-out windows, and all of them."""
    models, tries = [], []
    for number, (rate, decay) in enumerate(itertools.product(config.learning_rates, config.decays)):
        # All tries of a kind begin with the same weights.
        seed_everything(config.seed, kind)
        model = network(kind, config).to(run.device)
        phase = f"{kind}-{number}"
        fit_network(model, windows, config, run, phase=phase, learning_rate=rate, decay=decay)
        own, other = (mean_loss(model, each, config.energy) for each in (windows, held_out))
        models.append(model)
        tries.append(Try(kind, rate, decay, own, other))
    best = min(range(len(tries)), key=lambda index: tries[index].validation)
    tries[best] = replace(tries[best], chosen=True)
    return models[best], tries


def _windows(
    runs: Sequence[Simulation],
    config: TurbulenceSettings,
    *,
    first: float | None = None,
    last: float | None = None,
    horizon: float | None = None,
) -> Windows:
    horizon = config.horizon if horizon is None else horizon
    return cut(
        runs,
        first=-config.before if first is None else first,
        last=config.after if last is None else last,
        spacing=config.spacing,
        horizon=horizon,
        shortest=min(config.shortest, horizon),
        points=config.points,
    )
