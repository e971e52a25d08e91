"""Training of image flows: times, loss, schedule; and a run that is resumed."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from zoo import training
from zoo.data import as_float
from zoo.models.image_cnf import ImageCNF
from zoo.training import image_flow
from zoo.training.flows.coupling import optimal_pairs
from zoo.training.image_flow import (
    ImageFlowSettings,
    draw_times,
    factor,
    fit,
    flow_matching_loss,
)

TINY: dict[str, Any] = {"steps": 6, "batch_size": 8, "warmup": 2, "width": 16, "blocks": 1}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int) -> Tensor:
    return torch.randint(256, (n, 1, 8, 8), generator=seeded(), dtype=torch.uint8)


def run_fit(folder: Path, *, stop_at: int | None = None, **changes: Any) -> ImageCNF:
    """The average of a training; stopped, as if killed, in a step if told so."""
    config = ImageFlowSettings(**TINY, threads=1, **changes)
    torch.manual_seed(0)
    model = ImageCNF((1, 8, 8), width=16, blocks=1)
    resume = (folder / "run.json").exists()
    with training.Run(
        folder, config, name="toy", source=Path(__file__), command="python toy.py", resume=resume
    ) as run:
        run.steps = partial(run.steps, every_steps=1)
        if stop_at is not None:
            log, calls = run.log, []

            def stop(**metrics: Any) -> None:
                log(**metrics)
                calls.append(metrics)
                if len(calls) > stop_at:
                    raise KeyboardInterrupt

            run.log = stop
        return fit(model, pictures(32), config, run).module


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"steps": 0}, "steps: expected more than 0"),
        ({"late": 0.0}, "late: expected more than 0"),
        ({"ema": 1.0}, r"ema: expected a number in \[0, 1\)"),
        ({"alpha": 0.5}, r"alpha: expected a number in \(0, 0.5\)"),
        ({"width": 24}, "width: expected a multiple of 16"),
        ({"coupling": "best"}, "coupling: expected one of"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(training.SettingsError, match=expected):
        ImageFlowSettings(**wrong)


@pytest.mark.parametrize("late", [0.1, 1.0, 1000.0])
def test_times_have_their_density(late: float) -> None:
    times = draw_times(20_000, late, seeded())
    assert 0 <= float(times.min()) < float(times.max()) <= 1
    whole = math.log((1 + late) / late)

    def share_below(t: Any) -> Any:
        """The integral of 1 / (1 + late - t), normalised."""
        return -torch.log1p(-torch.as_tensor(t) / (1 + late)).numpy() / whole

    assert scipy.stats.kstest(times.double().numpy(), share_below).pvalue > 0.01
    # Only the largest is close to uniform.
    assert (scipy.stats.kstest(times.numpy(), "uniform").pvalue > 0.01) == (late > 1)


class Constant(nn.Module):
    """A velocity that is the same everywhere."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        self.seen = t, x
        return self.value.expand(x.shape)


def test_the_loss_is_the_formula() -> None:
    noise, images = torch.randn(2, 3, 1, 4, 4, generator=seeded())
    times = torch.tensor([0.0, 0.25, 1.0])
    velocity = Constant(torch.tensor(0.5))
    found = flow_matching_loss(velocity, noise, images, times)
    expected = 0.0
    for t, x0, x1 in zip((0.0, 0.25, 1.0), noise, images, strict=True):
        weight = t**2 + (1 - t) ** 2
        expected += weight * float((0.5 - (x1 - x0)).square().mean()) / 3
    assert float(found) == pytest.approx(expected, rel=1e-5)
    t, x = velocity.seen
    assert torch.equal(t, times)
    torch.testing.assert_close(x[1], 0.75 * noise[1] + 0.25 * images[1])


def test_the_network_at_its_beginning_has_a_loss_of_one() -> None:
    noise, images = torch.randn(2, 400, 1, 8, 8, generator=seeded())
    model = ImageCNF((1, 8, 8), width=16, blocks=1)
    with torch.no_grad():
        for t in (0.0, 0.3, 0.9):
            loss = flow_matching_loss(model.velocity, noise, images, torch.full((400,), t))
            assert float(loss) == pytest.approx(1, abs=0.03)


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    config = ImageFlowSettings(steps=1000, warmup=10)
    rates = [factor(step, config) for step in range(1001)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1, abs=1e-3)
    assert rates[500] == pytest.approx(0.5)
    assert rates[1000] == pytest.approx(0, abs=1e-12)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_pairs_are_those_of_the_optimal_transport(tmp_path: Path) -> None:
    drawn = {}
    for coupling in ("optimal", "independent"):
        config = ImageFlowSettings(**{**TINY, "coupling": coupling})
        model = ImageCNF((1, 8, 8), width=16, blocks=1)
        folder = tmp_path / coupling
        with training.Run(
            folder, config, name="toy", source=Path(__file__), command="python toy.py"
        ) as run:
            drawn[coupling] = image_flow._draw(model, pictures(32), config, run, 3)
    noise, images, times = drawn["optimal"]
    same_noise, plain, same_times = drawn["independent"]
    assert torch.equal(noise, same_noise) and torch.equal(times, same_times)
    assert torch.equal(images, plain[optimal_pairs(noise, plain)])
    assert not torch.equal(images, plain)


def test_training_standardises_and_moves_the_network(tmp_path: Path) -> None:
    average = run_fit(tmp_path / "run")
    z, _ = average.latent(as_float(pictures(32)), seeded())
    assert float(z.mean()) == pytest.approx(0, abs=0.05)
    assert float(z.std()) == pytest.approx(1, abs=0.05)
    assert not average.training
    assert float(average.velocity.head.weight.abs().max()) > 0


def test_a_killed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = run_fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "killed", stop_at=3)
    again = run_fit(tmp_path / "killed")
    other = run_fit(tmp_path / "other", seed=1)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    weight = "velocity.head.weight"
    assert not torch.equal(whole.state_dict()[weight], other.state_dict()[weight])
