"""Ensembles in a folder: killed, shared, merged, refused."""

import importlib.metadata
import json
import math

import filelock
import pytest
import safetensors
import torch

from tests.simulations import closed_form_flow
from tests.simulations.closed_form_flow import PEAK, ClosedFormFlow
from zoo.errors import SimulationError
from zoo.simulations import ensemble, folder, report
from zoo.simulations.design import QUANTITIES, SPECTRA, Condition, Design
from zoo.simulations.ensemble import Settings, simulate
from zoo.simulations.folder import EnsembleError, merge
from zoo.training.files import FileError

TINY = Design(
    "tiny",
    (
        Condition("train", 8, 0.02, seeds=(0, 1)),
        Condition("test-seed", 8, 0.02, seeds=(2,)),
        Condition("test-spectrum", 8, 0.02, spectrum="k2", seeds=(0,)),
    ),
)
EVERY = 0.2
SETTINGS = Settings(TINY, cfl=0.6, every=EVERY)
NAMES = ["nu0.0200-k4-seed0", "nu0.0200-k4-seed1", "nu0.0200-k4-seed2", "nu0.0200-k2-seed0"]


@pytest.fixture(autouse=True)
def same_code(monkeypatch):
    """The files name the commit, which may be another one while the tests are under way."""
    monkeypatch.setattr(ensemble.record, "commit", lambda place: "d" * 40)


@pytest.fixture
def closed_form(monkeypatch):
    """Runs that cost nothing and whose course is known."""
    monkeypatch.setattr(ensemble, "NavierStokes", ClosedFormFlow)
    monkeypatch.setattr(ClosedFormFlow, "runs", 0)


def files(out):
    """Name -> bytes of what must not depend on how the folder came to be."""
    paths = [*sorted((out / "runs").iterdir()), out / "turbulence.safetensors"]
    return {path.name: path.read_bytes() for path in paths}


def tensors(path):
    with safetensors.safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def killed_after(monkeypatch, calls):
    """Let the process die when it has been at `calls` outputs."""
    original, left = ensemble._advance, [calls]

    def advance(*arguments):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return original(*arguments)

    monkeypatch.setattr(ensemble, "_advance", advance)


def test_file_holds_every_quantity_of_every_run(closed_form, tmp_path):
    found = tensors(simulate(tmp_path, SETTINGS, quiet=True))
    assert set(found) == {f"{run}/{name}" for run in NAMES for name in (*QUANTITIES, *SPECTRA)}
    for name, tensor in found.items():
        assert tensor.ndim == 1
        assert tensor.dtype == (torch.float32 if "spectrum_" in name else torch.float64)


def test_run_ends_two_and_a_half_turnovers_after_the_peak(closed_form, tmp_path):
    run = tensors(simulate(tmp_path, SETTINGS, quiet=True))
    series = {name: run[f"{NAMES[0]}/{name}"] for name in (*QUANTITIES, *SPECTRA)}
    time = series["time"]
    torch.testing.assert_close(time, EVERY * torch.arange(len(time), dtype=torch.float64))
    known = closed_form_flow.dissipation(time)
    torch.testing.assert_close(series["dissipation"], known, rtol=1e-5, atol=0)
    peak = EVERY * round(PEAK / EVERY)
    turnover = closed_form_flow.kinetic_energy(peak) / closed_form_flow.dissipation(peak)
    assert 0 <= time[-1] - (peak + 2.5 * turnover) < EVERY
    assert series["spectrum_peak"][0] == pytest.approx(peak)
    assert series["spectrum_end"][0] == pytest.approx(float(time[-1]))


@pytest.mark.parametrize("calls", [1, 10, 50])
def test_killed_ensemble_goes_on_and_is_the_same(closed_form, tmp_path, monkeypatch, calls):
    simulate(tmp_path / "unbroken", SETTINGS, quiet=True)
    whole, ClosedFormFlow.runs = ClosedFormFlow.runs, 0
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        killed_after(patch, calls)
        simulate(tmp_path / "killed", SETTINGS, checkpoint_seconds=0, quiet=True)
    assert merge(tmp_path / "killed") is None
    simulate(tmp_path / "killed", SETTINGS, quiet=True)
    # Nothing was done twice.
    assert ClosedFormFlow.runs == whole
    assert files(tmp_path / "killed") == files(tmp_path / "unbroken")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_killed_simulation_is_the_same_to_the_last_bit(tmp_path, monkeypatch, dtype):
    design = Design("one", (Condition("train", 16, 0.02),), resolution=0.0)
    settings = Settings(design, dtype=dtype, turnovers=0.2)
    simulate(tmp_path / "unbroken", settings, quiet=True)
    for calls in (3, 5):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            killed_after(patch, calls)
            simulate(tmp_path / "killed", settings, checkpoint_seconds=0, quiet=True)
    simulate(tmp_path / "killed", settings, quiet=True)
    assert files(tmp_path / "killed") == files(tmp_path / "unbroken")


def test_shards_make_what_one_process_makes(closed_form, tmp_path):
    simulate(tmp_path / "one", SETTINGS, quiet=True)
    out = tmp_path / "two"
    assert simulate(out, SETTINGS, part=(2, 2), quiet=True) is None
    assert len(list((out / "runs").iterdir())) == 2
    assert simulate(out, SETTINGS, part=(1, 2), quiet=True) == out / "turbulence.safetensors"
    assert files(out) == files(tmp_path / "one")


def test_run_of_another_process_is_left_alone(closed_form, tmp_path, capsys):
    with filelock.FileLock(folder._lock(tmp_path, NAMES[1])):
        assert simulate(tmp_path, SETTINGS) is None
    assert f"{NAMES[1]}  is being done by another process" in capsys.readouterr().err
    assert {path.stem for path in (tmp_path / "runs").iterdir()} == {*NAMES} - {NAMES[1]}
    before = ClosedFormFlow.runs
    assert simulate(tmp_path, SETTINGS, quiet=True) is not None
    assert 0 < ClosedFormFlow.runs - before < before


def test_merged_file_says_how_it_came_to_be(closed_form, tmp_path):
    path = simulate(tmp_path, SETTINGS, quiet=True)
    with safetensors.safe_open(path, "pt") as file:
        settings = json.loads(file.metadata()["settings"])
    assert Design.from_dict(settings["design"]) == TINY
    assert (settings["cfl"], settings["every"], settings["dtype"]) == (0.6, EVERY, "float32")
    (environment,) = settings["environments"]
    assert environment["versions"]["torch"] == importlib.metadata.version("torch")
    assert set(environment) == {"commit", "hardware", "versions"}


def test_two_commits_are_both_named(closed_form, tmp_path, monkeypatch):
    simulate(tmp_path, SETTINGS, part=(1, 2), quiet=True)
    monkeypatch.setattr(ensemble.record, "commit", lambda place: "e" * 40)
    path = simulate(tmp_path, SETTINGS, quiet=True)
    with safetensors.safe_open(path, "pt") as file:
        environments = json.loads(file.metadata()["settings"])["environments"]
    assert len({each["commit"] for each in environments}) == 2


def test_other_settings_are_refused_and_named(closed_form, tmp_path):
    simulate(tmp_path, SETTINGS, quiet=True)
    other = Design("tiny", (Condition("train", 8, 0.03, seeds=(0, 5)), *TINY.conditions[1:]))
    with pytest.raises(EnsembleError) as caught:
        simulate(tmp_path, Settings(other, cfl=0.5, every=EVERY))
    message = str(caught.value)
    assert "cfl: 0.6 there, 0.5 asked for" in message
    assert "design.conditions[0].viscosity: 0.02 there, 0.03 asked for" in message
    assert "design.conditions[0].seeds[1]: 1 there, 5 asked for" in message
    assert len(message.splitlines()) == 4
    fewer = Design("tiny", TINY.conditions[:2])
    with pytest.raises(EnsembleError, match=r"number of design.conditions: 3 there, 2 asked for"):
        simulate(tmp_path, Settings(fewer, every=EVERY))


def test_failed_run_stops_no_other(closed_form, tmp_path, monkeypatch):
    original = ClosedFormFlow.run

    def run(self, velocity, **options):
        if velocity.real.mean() > 0.5 and self.bad:
            raise SimulationError("kmax*eta is 1.4")
        return original(self, velocity, **options)

    monkeypatch.setattr(ClosedFormFlow, "run", run)
    start = ClosedFormFlow.random_isotropic

    def random_isotropic(self, **options):
        self.bad = options["spectrum"] == "k2"
        return start(self, **options)

    monkeypatch.setattr(ClosedFormFlow, "random_isotropic", random_isotropic)
    with pytest.raises(SimulationError) as caught:
        simulate(tmp_path, SETTINGS, quiet=True)
    assert "1 of 4 runs failed" in str(caught.value)
    assert f"{NAMES[3]}: kmax*eta is 1.4" in str(caught.value)
    assert {path.stem for path in (tmp_path / "runs").iterdir()} == {*NAMES[:3]}


def test_run_without_an_end_is_an_error(closed_form, tmp_path):
    with pytest.raises(SimulationError, match=r"not over at t = 1: expected 2\.5"):
        simulate(tmp_path, Settings(TINY, latest=1.0), quiet=True)


def test_confined_and_viscous_runs_are_warned_of(closed_form, tmp_path, monkeypatch, capsys):
    simulate(tmp_path / "good", SETTINGS)
    good = capsys.readouterr().err
    assert "warning" not in good
    assert "dissipation largest at t = 0.60, there Re_lambda 29.4, kmax*eta 2.60" in good
    monkeypatch.setattr(ClosedFormFlow, "shift", 8.0)
    simulate(tmp_path / "bad", SETTINGS)
    bad = capsys.readouterr().err
    assert bad.count("warning: the integral scale exceeds 0.2 of the box") == 4
    assert bad.count("warning: the dissipation never rose") == 4


def test_damaged_run_is_named(closed_form, tmp_path):
    simulate(tmp_path, SETTINGS, quiet=True)
    path = tmp_path / "runs" / f"{NAMES[2]}.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FileError, match=f"{NAMES[2]}.safetensors: damaged.*simulate again"):
        merge(tmp_path)
    path.write_bytes((tmp_path / "runs" / f"{NAMES[0]}.safetensors").read_bytes())
    with pytest.raises(FileError, match="not a run of this ensemble"):
        merge(tmp_path)


def test_folder_of_something_else_is_not_merged(tmp_path):
    with pytest.raises(EnsembleError, match=r"it has no settings.json"):
        merge(tmp_path)


def test_fields_are_reproducible_and_independent(closed_form):
    def drawn(**changes):
        (case,) = Design("one", (Condition("train", **({**usual, **changes})),)).cases()
        flow = ClosedFormFlow(case.points, case.viscosity)
        return ensemble._start(flow, case)[0].imag.flatten()

    usual = {"points": 8, "viscosity": 0.02, "seeds": (3,)}
    torch.testing.assert_close(drawn(), drawn(), rtol=0, atol=0)
    for change in (
        {"seeds": (4,)},
        {"viscosity": 0.021},
        {"spectrum": "k2"},
        {"peak_wavenumber": 4.0},
        {"points": 10},
    ):
        both = torch.stack([drawn(), drawn(**change)])
        assert torch.corrcoef(both)[0, 1].abs() < 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cfl": 0}, "cfl: expected a positive number, found 0"),
        ({"every": math.nan}, "every: expected a positive number, found nan"),
        ({"dtype": "float16"}, "dtype: expected float32 or float64, found 'float16'"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        Settings(TINY, **changes)


def test_device_that_is_not_there(tmp_path):
    with pytest.raises(SimulationError, match="`--device cpu` needs none"):
        simulate(tmp_path, Settings(TINY, device="cuda:99"))


def test_report_has_a_row_for_each_condition(closed_form, tmp_path):
    table = report.ensemble(simulate(tmp_path, SETTINGS, quiet=True))
    assert [row[:5] for row in table.rows] == [
        ("test-seed", "0.02", "8^3", "k4, 3", "1"),
        ("test-spectrum", "0.02", "8^3", "k2, 3", "1"),
        ("train", "0.02", "8^3", "k4, 3", "2"),
    ]
    values = dict(zip(table.heads, table.rows[2], strict=True))
    peak = closed_form_flow.dissipation(0.6)
    assert (values["t*"], values["eps*"]) == ("0.60", f"{peak:.3f}")
    assert (values["Re_l*"], values["min kmax*eta"]) == ("29.4", "2.00")
    lines = table.text().splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert table.markdown().splitlines()[1].count("---:") == len(table.heads) - 1


def test_plan_adds_up():
    cases = TINY.cases()
    table = report.plan(SETTINGS)
    assert [row[0] for row in table.rows] == [*(case.name for case in cases), "4 runs"]
    assert table.rows[-1][-1] == "100.00%"
    assert report.plan(SETTINGS, (2, 2)).rows[-1][-1] == "50.00%"
