"""Series of decaying turbulence as forecasting problems, against decays in closed form."""

import hashlib
import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.optimize import brentq

from zoo.data import decaying_turbulence
from zoo.data.decaying_turbulence import Run, load, problem
from zoo.errors import DataError, UnknownNameError
from zoo.simulations.design import QUANTITIES, Condition, Design, find

DESIGN = Design(
    "some",
    (
        Condition("test-spectrum", 16, 0.02, spectrum="k2", seeds=(0,)),
        Condition("train", 16, 0.02, seeds=(1, 0)),
        Condition("train", 24, 0.015, seeds=(1,)),
        Condition("validation", 16, 0.02, seeds=(2,)),
    ),
)


def rise_and_decay(t, n=1.2, s=0.4):
    """k = (1 + (t + s)²)^(-n/2) and its ε = -dk/dt."""
    return (1 + (t + s) ** 2) ** (-n / 2), n * (t + s) * (1 + (t + s) ** 2) ** (-n / 2 - 1)


def power_law(t, c=1.8, k0=1.1, e0=0.6):
    """The solution of dk/dt = -ε, dε/dt = -C ε²/k, that is of k-ε without production."""
    n, base = 1 / (c - 1), 1 + (c - 1) * e0 / k0 * t
    return k0 * base**-n, e0 * base ** (-n - 1)


def run(k, epsilon, time, **changes):
    """A run with these series, the others being made up."""
    (case,) = Condition("train", 16, 0.02).cases()
    others = {name: torch.ones_like(time) for name in QUANTITIES[3:]}
    made = Run(
        name=case.name,
        viscosity=0.02,
        points=16,
        peak_wavenumber=3.0,
        spectrum="k4",
        seed=0,
        split="train",
        **{"time": time, "kinetic_energy": k, "dissipation": epsilon},
        **(others | {"skewness": -time / 10, "palinstrophy": torch.exp(time)}),
        spectrum_peak=torch.ones(6),
        spectrum_end=torch.ones(6),
    )
    return replace(made, **changes)


def outputs(last=8.0):
    return torch.arange(0, last + 1e-9, 0.05, dtype=torch.float64)


def smooth_run(last=8.0, **changes):
    time = outputs(last)
    return run(*rise_and_decay(time), time, **changes)


def write(path, settings=None):
    """A file of smooth runs."""
    tensors = {}
    for each in DESIGN.conditions:
        for case in each.cases():
            made = smooth_run(8 + case.seed)
            for name in (*QUANTITIES, "spectrum_peak", "spectrum_end"):
                tensors[f"{case.name}/{name}"] = getattr(made, name).clone()
    settings = settings or {"design": DESIGN.as_dict()}
    save_file(tensors, path, {"settings": json.dumps(settings)})
    return path


def test_peak_is_where_the_dissipation_is_largest():
    made = smooth_run()
    largest = 1 / math.sqrt(2.2) - 0.4
    assert abs(float(made.time[made.peak]) - largest) <= 0.025


@pytest.mark.parametrize("start", [0.0, 0.37, 1.0])
def test_problem_is_the_closed_form(start):
    made = smooth_run()
    got = problem([made], start=start, horizon=1.5, points=33)
    peak = float(made.time[made.peak])
    k, epsilon = rise_and_decay(peak)
    begin = peak + start * k / epsilon
    k, epsilon = rise_and_decay(begin)
    times = torch.linspace(0, 1.5 * k / epsilon, 33, dtype=torch.float64)
    torch.testing.assert_close(got.times, times[None], rtol=1e-6, atol=0)
    known_k, known_epsilon = rise_and_decay(begin + times)
    torch.testing.assert_close(got.k, known_k[None], rtol=1e-6, atol=0)
    torch.testing.assert_close(got.epsilon, known_epsilon[None], rtol=1e-6, atol=0)
    state = {name: float(value) for name, value in got.state.items()}
    known = {"k": k, "epsilon": epsilon, "nu": 0.02, "skewness": -begin / 10}
    assert state == pytest.approx(known | {"palinstrophy": math.exp(begin)}, rel=1e-6)


def test_late_start_on_a_power_law_is_the_closed_form_of_k_epsilon():
    time, ramp = outputs(), 0.5
    k, epsilon = power_law(time - ramp)
    # Before its peak ε rises on a straight line; the kink there is a turnover behind the start.
    epsilon = torch.where(time < ramp, 0.6 * (0.9 + 0.1 * time / ramp), epsilon)
    made = run(k, epsilon, time)
    assert float(made.time[made.peak]) == ramp
    got = problem([made], start=1.0, horizon=1.0, points=9)
    known_k, known_epsilon = power_law(1.1 / 0.6 + got.times)
    torch.testing.assert_close(got.k, known_k, rtol=1e-6, atol=0)
    torch.testing.assert_close(got.epsilon, known_epsilon, rtol=1e-6, atol=0)


def test_runs_have_times_of_their_own():
    slow = smooth_run()
    fast = run(slow.kinetic_energy, 2 * slow.dissipation, slow.time / 2, name="fast")
    got = problem([slow, fast], points=5)
    assert (got.times.shape, got.names) == ((2, 5), (slow.name, "fast"))
    assert got.times.dtype == got.k.dtype == got.epsilon.dtype == torch.float64
    assert got.times[:, 0].tolist() == [0, 0]
    torch.testing.assert_close(got.times[0], 2 * got.times[1])
    torch.testing.assert_close(got.epsilon[0], got.epsilon[1] / 2)
    for name, known in (("k", got.k), ("epsilon", got.epsilon)):
        torch.testing.assert_close(got.state[name], known[:, 0], rtol=0, atol=0)
        assert got.state[name].shape == (2,)


def test_run_without_a_transient_is_refused():
    time = outputs()
    made = run(*power_law(time), time)
    with pytest.raises(ValueError, match=r"k4-seed0: expected a transient.*simulate a lower visc"):
        problem([made])


def test_run_that_is_too_short_is_named_with_what_it_has():
    made = smooth_run(3.0)
    with pytest.raises(ValueError, match=r"too short: start=9.* can be (\d\.\d\d) at most") as late:
        problem([made], start=9.0)
    assert made.name in str(late.value)
    with pytest.raises(
        ValueError, match=r"horizon=5.*it ends at 3\.000.* the horizon can be"
    ) as far:
        problem([made], horizon=5.0)
    # What the text says is what there is.
    most = float(str(far.value).split(" at most")[0].split()[-1])
    k, epsilon = rise_and_decay(float(made.time[made.peak]))
    assert most == pytest.approx((3 - float(made.time[made.peak])) * epsilon / k, abs=0.005)
    problem([made], horizon=most - 0.01)


def test_start_can_be_where_the_text_says():
    made = smooth_run(6.0)

    def left(start):
        peak = float(made.time[made.peak])
        k, epsilon = rise_and_decay(peak)
        begin = peak + start * k / epsilon
        k, epsilon = rise_and_decay(begin)
        return 6.0 - begin - 0.5 * k / epsilon

    latest = brentq(left, 0, 5)
    problem([made], start=latest - 1e-6, horizon=0.5)
    with pytest.raises(ValueError, match="too short"):
        problem([made], start=latest + 1e-6, horizon=0.5)


@pytest.mark.parametrize("bad", [{"start": -1}, {"horizon": 0}, {"points": 1}])
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match="expected start >= 0, horizon > 0 and points >= 2"):
        problem([smooth_run()], **bad)


def test_no_runs():
    with pytest.raises(ValueError, match="expected at least one"):
        problem([])


def test_runs_come_in_the_order_of_the_design(tmp_path):
    runs = load(path=write(tmp_path / "file.safetensors"))
    assert [(each.name, each.split) for each in runs] == [
        ("nu0.0200-k2-seed0", "test-spectrum"),
        ("nu0.0200-k4-seed1", "train"),
        ("nu0.0200-k4-seed0", "train"),
        ("nu0.0150-k4-seed1", "train"),
        ("nu0.0200-k4-seed2", "validation"),
    ]
    last = runs[-1]
    assert (last.viscosity, last.points, last.peak_wavenumber) == (0.02, 16, 3.0)
    assert (last.spectrum, last.seed, float(last.time[-1])) == ("k4", 2, 10.0)
    torch.testing.assert_close(last.dissipation, smooth_run(10.0).dissipation, rtol=0, atol=0)


def test_one_split_alone(tmp_path):
    path = write(tmp_path / "file.safetensors")
    assert [each.seed for each in load("train", path)] == [1, 0, 1]
    assert load("test-seed", path) == []
    with pytest.raises(UnknownNameError, match=r"expected one of train, .*, found 'test'"):
        load("test", path)


def test_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(DataError, match=r"No such file.*`zoo simulate turbulence --out DIR`"):
        load(path=tmp_path / "nothing.safetensors")


def changed(path, name, change):
    """A file whose tensor `name` went through `change`; None leaves it out."""
    tensors = load_file(write(path))
    tensors[name] = change(tensors[name])
    settings = json.dumps({"design": DESIGN.as_dict()})
    found = {key: value for key, value in tensors.items() if value is not None}
    save_file(found, path, {"settings": settings})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"no safetensors at all"),
        lambda path: save_file({"weight": torch.ones(2)}, path),
        lambda path: save_file({"weight": torch.ones(2)}, path, {"settings": "1"}),
        lambda path: write(path, {"design": {"name": "none"}}),
        lambda path: path.write_bytes(write(path).read_bytes()[:-8]),
        lambda path: changed(path, "nu0.0200-k4-seed1/palinstrophy", lambda series: None),
        lambda path: changed(path, "nu0.0200-k4-seed1/skewness", lambda series: series[1:].clone()),
        lambda path: changed(path, "nu0.0200-k4-seed1/dissipation", lambda series: -series),
    ],
)
def test_foreign_and_damaged_files_are_refused(tmp_path, spoil):
    path = tmp_path / "file.safetensors"
    spoil(path)
    with pytest.raises(DataError, match=r"or damaged.*zoo simulate turbulence --out DIR"):
        load(path=path)


def test_bundled_file_is_verified(tmp_path, monkeypatch):
    path = write(tmp_path / "file.safetensors")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(decaying_turbulence, "BUNDLED", path)
    monkeypatch.setattr(decaying_turbulence, "BUNDLED_SHA256", digest)
    assert len(load()) == 5
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert len(load(path=path)) == 5
    with pytest.raises(DataError, match=f"has sha256 .*, expected {digest}; install the package"):
        load()


def test_bundled_ensemble_is_the_design_for_a_cpu():
    runs = load()
    assert {run.name for run in runs} == {case.name for case in find("cpu").cases()}
    assert all(run.peak > 0 and run.kmax_eta.min() >= 1.5 for run in runs)
