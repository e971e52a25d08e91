"""Trainings of forecasters of turbulence: windows, fits with known answers, tries, resumes."""

import importlib
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.turbulence_runs import write_ensemble
from zoo import training
from zoo.data import decaying_turbulence
from zoo.data.decaying_turbulence import Run as Simulation
from zoo.models.k_epsilon import KEpsilon
from zoo.models.turbulence import RangeWarning
from zoo.models.turbulence_ode import TurbulenceODE
from zoo.training.settings import SettingsError
from zoo.training.turbulence import Trained, TurbulenceSettings, train
from zoo.training.turbulence.fit import (
    clip_members,
    fit_closure,
    fit_network,
    loss,
    mean_loss,
    standardise,
)
from zoo.training.turbulence.train import network
from zoo.training.turbulence.windows import Windows, cut

TINY: dict[str, Any] = {
    "steps": 3,
    "lstm_steps": 3,
    "batch_size": 4,
    "learning_rates": (1e-2, 1e-4),
    "decays": (0.0,),
    "members": 2,
    "hidden": 4,
    "encoder": 3,
    "recurrent": 2,
    "spacing": 0.5,
    "points": 9,
    "threads": 1,
}
CUT: dict[str, Any] = {"spacing": 0.25, "horizon": 2.0, "shortest": 0.5, "points": 9}


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ensemble(tmp_path_factory.mktemp("turbulence") / "ensemble.safetensors")


@pytest.fixture(scope="module")
def runs(ensemble: Path) -> list[Simulation]:
    return decaying_turbulence.load("train", ensemble)


def power_law_runs(model: KEpsilon) -> list[Simulation]:
    """Decays that a closure describes exactly; their dissipation has its maximum at the start."""
    time = torch.linspace(0, 12, 481, dtype=torch.float64)
    found = []
    for seed, nu in enumerate((0.01, 0.02, 0.05)):
        one = torch.ones(1, dtype=torch.float64)
        state = {"k": one, "epsilon": one / (1 + seed), "nu": nu * one}
        curves = (
            model.double().forecast(state, time, method="dopri8", rtol=1e-10, atol=1e-10)
            if (model.slope is not None)
            else model.double().forecast(state, time)
        )
        ones = torch.ones_like(time)
        series = {"kinetic_energy": curves["k"][0], "dissipation": curves["epsilon"][0]}
        names = ("enstrophy_production", "palinstrophy", "integral_scale", "reynolds_lambda")
        rest = {name: ones for name in (*names, "kmax_eta", "spectrum_peak", "spectrum_end")}
        facts = (f"run{seed}", nu, 8, 3.0, "k4", seed, "train")
        found.append(Simulation(*facts, time=time, skewness=-0.5 * ones, **series, **rest))
    return found


def open_run(folder: Path, config: TurbulenceSettings, *, resume: bool = False) -> training.Run:
    return training.Run(
        folder,
        config,
        name="toy",
        source=Path(__file__),
        command="python toy.py",
        resume=resume,
    )


def trained(folder: Path, ensemble: Path, *, resume: bool = False, **changes: Any) -> Trained:
    config = TurbulenceSettings(**{**TINY, **changes})
    splits = (decaying_turbulence.load(split, ensemble) for split in ("train", "validation"))
    with open_run(folder, config, resume=resume) as run:
        return train(config, *splits, run)


def weights(found: Trained) -> dict[str, Tensor]:
    models = {"ode": found.model, **found.baselines}
    return {
        f"{name}.{key}": value
        for name, model in models.items()
        for key, value in model.state_dict().items()
    }


def test_a_window_is_what_the_closed_form_says() -> None:
    model = KEpsilon(1.7)
    windows = cut(power_law_runs(model), first=0.0, last=1.0, **CUT)
    assert len(windows) == 3 * 5
    tau = windows.tau.expand(len(windows), -1)
    exact = model.float().curves(windows.start, tau)[0]
    inside = windows.mask.bool()
    torch.testing.assert_close(windows.targets[inside], exact[inside], rtol=0, atol=2e-6)
    reynolds = windows.start.k.square() / (windows.start.log_reynolds.exp() * windows.start.epsilon)
    assert set(reynolds.mul(1e3).round().int().tolist()) == {10, 20, 50}


def test_windows_begin_with_the_states_of_the_problems(runs: list[Simulation]) -> None:
    windows = cut(runs, first=-0.25, last=0.5, **CUT)
    for lag in (0.0, 0.25):
        mine = windows.take((windows.lag - lag).abs() < 1e-6)
        problem = decaying_turbulence.problem(runs, start=lag, horizon=1.5, points=7)
        k, epsilon, nu = (problem.state[name].float() for name in ("k", "epsilon", "nu"))
        torch.testing.assert_close(mine.start.k, k)
        torch.testing.assert_close(mine.start.epsilon, epsilon)
        torch.testing.assert_close(mine.start.log_reynolds, (k.square() / nu / epsilon).log())
        torch.testing.assert_close(mine.start.skewness, -problem.state["skewness"].float())
        theirs = torch.stack([problem.k, problem.epsilon], dim=2)
        theirs = (theirs / theirs[:, :1]).log().float()
        torch.testing.assert_close(mine.targets[:, :7], theirs, rtol=1e-5, atol=1e-6)


def test_a_mask_ends_with_the_run_and_short_windows_are_left_out(runs: list[Simulation]) -> None:
    windows = cut(runs, first=-0.25, last=2.5, **CUT)
    valid = (windows.mask * windows.tau).amax(1)
    assert bool((valid >= 0.5).all()) and bool((valid < 2).any()) and bool((valid == 2).any())
    assert bool((windows.mask.diff(dim=1) <= 0).all())
    assert bool((windows.targets[windows.mask == 0] == 0).all())
    last = runs[0]
    left = float(last.time[-1] - last.time[last.peak])
    turnover = float(last.kinetic_energy[last.peak] / last.dissipation[last.peak])
    assert float(windows.lag.max()) < left / turnover
    with pytest.raises(ValueError, match=r"none of 4 runs has 0\.5 k/ε left 9\.0"):
        cut(runs, first=9.0, last=9.5, **CUT)


def test_starts_before_the_peak_go_back_to_the_start_of_the_run(runs: list[Simulation]) -> None:
    windows = cut(runs, first=-1.0, last=0.0, **CUT | {"spacing": 0.05})
    back = [float(r.time[r.peak] * r.dissipation[r.peak] / r.kinetic_energy[r.peak]) for r in runs]
    assert len(windows) == sum(1 + math.floor(each / 0.05) for each in back)
    assert -max(back) <= float(windows.lag.min()) < 0.05 - max(back)


def test_the_loss_by_hand(runs: list[Simulation]) -> None:
    windows, model = cut(runs, first=0.0, last=2.0, **CUT), KEpsilon(1.5)
    curves = model.curves(windows.start, windows.tau.expand(len(windows), -1))[0].detach().numpy()
    errors = []
    for row in range(len(windows)):
        until = int(windows.mask[row].sum())
        square = (curves[row, :until] - windows.targets[row, :until].numpy()) ** 2
        errors.append((0.3 * square[:, 0] + square[:, 1]).mean())
    assert float(loss(model, windows, 0.3).detach()) == pytest.approx(np.mean(errors), rel=1e-5)
    assert mean_loss(model, windows, 0.3) == pytest.approx(np.mean(errors), rel=1e-5)


def test_each_member_has_the_loss_of_its_own_windows(runs: list[Simulation]) -> None:
    windows = cut(runs, first=0.0, last=1.0, **CUT)
    torch.manual_seed(0)
    model = network("ode", TurbulenceSettings(**TINY))
    standardise(model, windows)
    index = torch.tensor([[0, 3, 5], [7, 2, 2]])
    together = loss(model, windows.take(index), 1.0)
    for member in range(2):
        alone = loss(model, windows.take(index[member]), 1.0)[member]
        torch.testing.assert_close(together[member], alone)


def test_a_network_is_told_what_its_starts_are_like(runs: list[Simulation]) -> None:
    windows = cut(runs, first=0.0, last=1.0, **CUT)
    model = network("lstm", TurbulenceSettings(**TINY))
    standardise(model, windows)
    log_reynolds = windows.start.log_reynolds
    torch.testing.assert_close(model.shift[0], log_reynolds.mean())
    torch.testing.assert_close(model.scale[0], log_reynolds.std())
    assert model.lowest[1] == windows.start.skewness.min()
    assert model.highest[2] == windows.start.log_destruction.max()


@pytest.mark.parametrize(("constant", "slope"), [(1.6, None), (1.3, -0.2)])
def test_a_closure_is_found_again(constant: float, slope: float | None) -> None:
    runs = power_law_runs(KEpsilon(constant, slope))
    windows = cut(runs, first=0.0, last=1.0, **CUT)
    model = KEpsilon(1.5, None if slope is None else 0.0)
    fit_closure(model, windows, 1.0)
    assert model.constant.item() == pytest.approx(constant, abs=2e-4)
    if slope is not None and model.slope is not None:
        assert model.slope.item() == pytest.approx(slope, abs=2e-4)


def test_the_gradient_of_each_member_is_clipped_by_itself() -> None:
    torch.manual_seed(0)
    model = TurbulenceODE(members=2)
    wanted = []
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape)
        parameter.grad[1] *= 1e-3
        wanted.append(parameter.grad.clone())
    norm = math.sqrt(sum(float(each[0].square().sum()) for each in wanted))
    clip_members(model, 1.0)
    for parameter, before in zip(model.parameters(), wanted, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad[0], before[0] / norm)
        assert torch.equal(parameter.grad[1], before[1])


def test_a_training_gives_all_models_and_all_tries(tmp_path: Path, ensemble: Path) -> None:
    found = trained(tmp_path / "run", ensemble)
    assert set(found.baselines) == {
        "LSTM",
        "k-epsilon, 1.92",
        "k-epsilon, 11/6",
        *(
            f"k-epsilon, {form} fitted{where}"
            for form in ("constant", "C(Re_T)")
            for where in ("", " at the peak", " self-similar")
        ),
    }
    assert [(each.kind, each.learning_rate) for each in found.history] == [
        (kind, rate) for kind in ("ode", "lstm") for rate in (1e-2, 1e-4)
    ]
    for kind in ("ode", "lstm"):
        tries = [each for each in found.history if each.kind == kind]
        best = min(tries, key=lambda each: each.validation)
        assert [each.chosen for each in tries] == [each is best for each in tries]
    runs = decaying_turbulence.load("validation", ensemble)
    config = TurbulenceSettings(**TINY)
    windows = cut(runs, **CUT | {"spacing": 0.5}, first=-config.before, last=config.after)
    (best,) = (each for each in found.history if each.kind == "ode" and each.chosen)
    assert mean_loss(found.model, windows, 1.0) == pytest.approx(best.validation)
    assert not found.model.training and found.model.step == TurbulenceODE().step
    problem = decaying_turbulence.problem(runs, horizon=1.5)
    for model in (found.model, *found.baselines.values()):
        with warnings.catch_warnings():
            # Of other seeds: some states are a little beyond those of the four runs of training.
            warnings.simplefilter("ignore", RangeWarning)
            curves = model.forecast(problem.state, problem.times)
        assert bool(curves["epsilon"].isfinite().all()) and not model.training


def test_a_killed_training_goes_on_to_the_same_weights(
    tmp_path: Path, ensemble: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They have no steps to be killed between.
    module = importlib.import_module("zoo.training.turbulence.train")
    monkeypatch.setattr(module, "closures", lambda *_: {})
    whole = weights(trained(tmp_path / "whole", ensemble))
    steps = training.Run.steps

    def killed(self: training.Run, total: int, state: Any, **how: Any) -> Any:
        for step in steps(self, total, state, **how, every_steps=1):
            yield step
            if (how["phase"], step) == ("ode-1", 1):
                raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training.Run, "steps", killed)
        trained(tmp_path / "killed", ensemble)
    again = weights(trained(tmp_path / "killed", ensemble, resume=True))
    assert again.keys() == whole.keys()
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_the_neural_ode_learns(tmp_path: Path, ensemble: Path) -> None:
    """From a coefficient that relaxes, as its own does, if with other rates in every run."""
    config = TurbulenceSettings(**TINY | {"steps": 40, "batch_size": 16, "members": 1})
    windows, held_out = (
        cut(decaying_turbulence.load(split, ensemble), first=0.0, last=1.0, **CUT)
        for split in ("train", "validation")
    )
    torch.manual_seed(0)
    model, constant = network("ode", config), KEpsilon(1.5)
    fit_closure(constant, windows, config.energy)
    with open_run(tmp_path / "run", config) as run:
        fit_network(model, windows, config, run, phase="ode", learning_rate=3e-2, decay=0.0)
    assert mean_loss(model, held_out, 1.0) < 0.2 * mean_loss(constant, held_out, 1.0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"steps": 0}, "steps: expected more than 0"),
        ({"learning_rates": ()}, "learning_rates: expected numbers above 0"),
        ({"learning_rates": (0.1, 0.0)}, "learning_rates: expected numbers above 0"),
        ({"decays": (-1.0,)}, "decays: expected numbers of at least 0"),
        ({"shortest": 3.0}, "shortest: expected at most the horizon 2"),
        ({"points": 1}, "points: expected at least 2"),
        ({"before": -0.1}, "before: expected at least 0"),
        ({"inputs": ("colour",)}, "inputs: expected one of skewness, palinstrophy"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        TurbulenceSettings(**changes)


def test_windows_go_to_a_device_whole(runs: list[Simulation]) -> None:
    windows = cut(runs, first=0.0, last=0.5, **CUT).to("meta")
    assert isinstance(windows, Windows) and windows.start.skewness is not None
    tensors = (windows.tau, windows.targets, windows.mask, windows.lag, windows.start.skewness)
    assert all(each.is_meta for each in tensors)
