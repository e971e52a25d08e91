"""The recipes of flows of vectors: smoke runs, a resume, what they refuse, what they keep."""

import json
import runpy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import zoo
from tests.training.toy import ROOT
from zoo import training
from zoo.data import densities
from zoo.models.cnf import CNF
from zoo.training.flows.best import Best
from zoo.training.flows.settings import FlowSettings


def run_here(name: str, *argv: str) -> None:
    recipe = runpy.run_path(str(ROOT / "recipes" / f"{name}.py"))
    training.main(
        recipe["train"],
        recipe["Config"],
        presets=recipe["PRESETS"],
        name=name.replace("_", "-"),
        argv=argv,
    )


def weights(out: Path) -> dict[str, torch.Tensor]:
    card = json.loads((out / "card" / "config.json").read_text())
    return load_file(out / "card" / card["weights"]["smoke"]["file"])


@pytest.mark.parametrize(("name", "dim"), [("cnf_toy", 2), ("cnf_tabular", 3)])
def test_smoke_run_exports_a_flow_that_loads_and_verifies(
    name: str, dim: int, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run_here(name, "--smoke", "--out", str(out))
    assert json.loads((out / "run.json").read_text())["status"] == "done"
    where = f"local-dir:{out / 'card'}#smoke"
    model = zoo.create(where, pretrained=True)
    x = model.sample(5, torch.Generator().manual_seed(0))
    assert x.shape == (5, dim)
    assert model.log_prob(x).shape == (5,)
    assert zoo.verify(where, metrics=True).ok


def test_both_phases_lower_their_loss(tmp_path: Path) -> None:
    out = tmp_path / "run"
    steps = ("--matching-steps", "60", "--likelihood-steps", "60", "--coupling", "independent")
    sizes = ("--batch-size", "128", "--matching-batch", "256", "--hidden", "32,32")
    rates = ("--warmup", "5", "--learning-rate", "0.01", "--matching-rate", "0.01")
    options = (*steps, *sizes, *rates)
    run_here("cnf_toy", "--smoke", "--density", "moons", *options, "--out", str(out))
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for phase, gain in (("matching", 0.3), ("likelihood", 0.05)):
        losses = [row["loss"] for row in rows if row["phase"] == phase]
        first, last = sum(losses[:8]) / 8, sum(losses[-8:]) / 8
        assert last < first - gain, phase
    measured = json.loads((out / "run.json").read_text())["metrics"]
    assert measured["moons nll"] > densities.get("moons").entropy
    assert measured["moons mass"] == pytest.approx(1, abs=0.1)


def test_regularisers_are_logged_and_make_shorter_paths(tmp_path: Path) -> None:
    paths = []
    for weight in ("0", "3"):
        out = tmp_path / weight
        options = ("--kinetic", weight, "--jacobian", weight, "--matching-steps", "0")
        steps = ("--likelihood-steps", "40", "--learning-rate", "0.01", "--warmup", "5")
        run_here("cnf_toy", "--smoke", *options, *steps, "--out", str(out))
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert ("kinetic" in rows[-1]) == ("jacobian" in rows[-1]) == (weight != "0")
        model = zoo.create(f"local-dir:{out / 'card'}#smoke", pretrained=True)
        z = torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
        moved = (model.decode(z) - model.shift) / model.scale - z
        paths.append(moved.square().sum(1).mean().item())
    assert paths[1] < 0.5 * paths[0]


@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_the_same_bytes_after_an_interruption_in_the_second_phase(
    trace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--trace", trace, "--sigma", "0.1", "--threads", "1")
    run_here("cnf_tabular", "--smoke", *options, "--out", str(tmp_path / "whole"))

    class Stop(Exception):
        pass

    calls = []
    offer = Best.offer

    def stopping(self: Best, module: torch.nn.Module, loss: float) -> bool:
        calls.append(loss)
        if len(calls) == 3:
            raise Stop
        return offer(self, module, loss)

    with monkeypatch.context() as patched:
        patched.setattr(Best, "offer", stopping)
        with pytest.raises(Stop):
            run_here("cnf_tabular", "--smoke", *options, "--out", str(tmp_path / "cut"))
    run_here("cnf_tabular", "--resume", "--out", str(tmp_path / "cut"))
    whole, cut = (weights(tmp_path / name) for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_the_best_weights_are_kept() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        one, two, three = (CNF(2, (4,)) for _ in range(3))
    best = Best(one)
    assert [best.offer(two, 1.0), best.offer(three, 2.0), best.offer(three, float("nan"))] == [
        True,
        False,
        False,
    ]
    other = Best(one)
    other.load_state_dict(best.state_dict())
    assert other.loss == 1.0
    for name, value in two.state_dict().items():
        assert torch.equal(best.module.state_dict()[name], value)
        assert torch.equal(other.module.state_dict()[name], value)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"likelihood_steps": 0}, "expected more than 0 in all"),
        ({"batch_size": 0}, "batch_size: expected more than 0"),
        ({"kinetic": -0.1}, "kinetic: expected at least 0"),
        ({"ema": 1.0}, r"ema: expected a number in \[0, 1\)"),
        ({"hidden": ()}, "hidden: expected widths"),
        ({"hidden": (8, 0)}, "hidden: expected widths"),
        ({"method": "rk5"}, "method: expected one of"),
        ({"method": "rk4"}, "solver_steps: rk4 has equal steps"),
        ({"method": "rk4", "solver_steps": 0}, "solver_steps: rk4 has equal steps"),
        ({"further_steps": 2}, "further_steps: expected solver_steps beside it"),
        ({"solver_steps": 7}, "solver_steps: dopri5 chooses its own steps"),
        ({"tolerance": 0.0}, "tolerance: expected more than 0"),
        ({"probes": 0}, "probes: expected more than 0"),
    ],
)
def test_settings_that_make_no_training_are_refused(
    wrong: dict[str, object], expected: str
) -> None:
    with pytest.raises(training.SettingsError, match=expected):
        FlowSettings(**wrong)


def test_further_steps_are_drawn_evenly_and_only_on_request() -> None:
    config = FlowSettings(method="rk4", solver_steps=4, further_steps=2)
    generator = torch.Generator().manual_seed(0)
    drawn = [config.solver(generator).steps for _ in range(300)]
    assert min(drawn.count(steps) for steps in (4, 5, 6)) > 70
    assert set(drawn) == {4, 5, 6}
    assert config.solver().steps == 4
    assert FlowSettings().solver(generator).steps is None


def test_the_defaults_are_those_of_ffjord() -> None:
    toy = runpy.run_path(str(ROOT / "recipes" / "cnf_toy.py"))
    config = toy["Config"](**toy["PRESETS"]["likelihood"])
    assert (config.hidden, config.activation) == ((64, 64, 64), "tanh")
    assert (config.likelihood_steps, config.batch_size, config.learning_rate) == (10_000, 100, 1e-3)
    assert (config.weight_decay, config.method, config.tolerance) == (1e-5, "dopri5", 1e-5)
    table = runpy.run_path(str(ROOT / "recipes" / "cnf_tabular.py"))["Config"]()
    assert (table.batch_size, table.weight_decay, table.activation) == (1_000, 1e-6, "softplus")
