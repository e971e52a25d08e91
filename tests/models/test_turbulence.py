"""The state of a turbulent decay: its groups by hand, what is refused, and the range of a model."""

import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from tests.models.turbulence_states import in_other_units, states
from zoo.models.k_epsilon import KEpsilon
from zoo.models.members import MemberLinear, member_perceptron
from zoo.models.turbulence import RangeWarning, Start, TurbulenceForecaster, elapsed, read_state
from zoo.models.turbulence_lstm import TurbulenceLSTM
from zoo.models.turbulence_ode import TurbulenceODE

NETWORKS = (TurbulenceODE, TurbulenceLSTM)


def everyone() -> list[TurbulenceForecaster]:
    torch.manual_seed(0)
    models = (TurbulenceODE(members=2), TurbulenceLSTM(members=2), KEpsilon(), KEpsilon(1.5, 0.1))
    return [model.double().eval() for model in models]


def test_the_groups_of_a_state_by_hand() -> None:
    state = {
        "k": torch.tensor([2.0, 1.0]),
        "epsilon": torch.tensor([0.5, 1.0]),
        "nu": torch.tensor([0.1, 0.01]),
        "skewness": torch.tensor([-0.5, 0.25]),
        "palinstrophy": torch.tensor([30.0, 7.0]),
    }
    start = read_state(state)
    torch.testing.assert_close(start.log_reynolds.exp(), torch.tensor([80.0, 100.0]))
    torch.testing.assert_close(start.skewness, torch.tensor([0.5, -0.25]))
    destruction = torch.tensor([4 * 0.01 * 30 * 2 / 0.25, 4 * 1e-4 * 7])
    torch.testing.assert_close(start.log_destruction.exp(), destruction)
    production = torch.tensor([0.5 * 80**0.5, -0.25 * 10]) * 7 / (3 * math.sqrt(15))
    torch.testing.assert_close(start.identity(), destruction - production)


def test_the_identity_holds_for_a_model_spectrum() -> None:
    """Of a spectrum with a known transfer: C = -(dε/dt) k/ε² of the spectrum's own evolution.

    dE/dt = T - 2νκ²E. T is any transfer that conserves energy; its enstrophy production Σκ²T is
    what S stands for: 2 Σκ²T = 2 · 7/(6√15) S ⟨ω²⟩^(3/2) for isotropic turbulence.
    """
    kappa = torch.linspace(0.5, 40, 400, dtype=torch.float64)
    spectrum, nu = kappa**4 * (-0.5 * kappa).exp(), 0.03
    transfer = kappa**3 * (-0.4 * kappa).exp() - kappa**2 * (-0.6 * kappa).exp()
    low = kappa * (-kappa).exp()
    transfer = 0.3 * (transfer - low * transfer.sum() / low.sum())
    k, enstrophy = spectrum.sum(), (kappa**2 * spectrum).sum()
    palinstrophy, production = (kappa**4 * spectrum).sum(), (kappa**2 * transfer).sum()
    epsilon = 2 * nu * enstrophy
    change = 2 * nu * (production - 2 * nu * palinstrophy)
    skewness = production * 6 * math.sqrt(15) / (7 * (2 * enstrophy) ** 1.5)
    state = {
        "k": k[None],
        "epsilon": epsilon[None],
        "nu": torch.tensor([nu], dtype=torch.float64),
        "skewness": -skewness[None],
        "palinstrophy": palinstrophy[None],
    }
    exact = -change * k / epsilon**2
    torch.testing.assert_close(read_state(state).identity()[0], exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("length", "time"), [(1e3, 1.0), (0.02, 1e-3)])
def test_units_do_not_matter(length: float, time: float) -> None:
    state = states()
    times = torch.linspace(0, 4, 9).double()
    for model in everyone():
        here = model.forecast(state, times)
        there = model.forecast(in_other_units(state, length, time), times * time)
        for name, unit in {"k": length**2 / time**2, "epsilon": length**2 / time**3}.items():
            torch.testing.assert_close(there[name], here[name] * unit, rtol=1e-11, atol=0)


def test_a_forecast_begins_with_the_state_exactly_and_in_its_precision() -> None:
    torch.manual_seed(0)
    for model in (TurbulenceODE(), TurbulenceLSTM(), KEpsilon(1.4)):
        for dtype in (torch.float32, torch.float64):
            state = states(dtype=dtype)
            found = model.eval().forecast(state, torch.tensor([7.0, 7.5]))
            for name in ("k", "epsilon"):
                assert found[name].dtype == dtype and found[name].shape == (6, 2)
                assert torch.equal(found[name][:, 0], state[name])


def test_what_is_forecast_depends_neither_on_neighbours_nor_on_other_times() -> None:
    state = states()
    times = torch.linspace(0, 3, 13).double().expand(6, -1) * torch.arange(1, 7).unsqueeze(1)
    for model in everyone():
        together = model.forecast(state, times)
        for row in (0, 4):
            one = {name: value[row : row + 1] for name, value in state.items()}
            alone = model.forecast(one, times[row, [0, 5, 9]] + 100)
            for name, value in alone.items():
                torch.testing.assert_close(
                    value[0], together[name][row, [0, 5, 9]], rtol=1e-9, atol=0
                )


def test_only_the_time_since_the_first_counts_and_one_time_gives_the_state() -> None:
    state = states()
    for model in everyone():
        here = model.forecast(state, torch.tensor([0.0, 1.0, 2.0]).double())
        later = model.forecast(state, torch.tensor([5.0, 6.0, 7.0]).double())
        only = model.forecast(state, torch.tensor([5.0]).double())
        for name in ("k", "epsilon"):
            torch.testing.assert_close(here[name], later[name], rtol=1e-12, atol=0)
            assert torch.equal(only[name], state[name].unsqueeze(1))


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_ensemble_is_the_geometric_mean_of_its_members(kind: type[TurbulenceODE]) -> None:
    torch.manual_seed(0)
    model = kind(members=3).double().eval()
    state, times = states(), torch.linspace(0, 2, 5).double()
    members, mean = model.forecast_members(state, times), model.forecast(state, times)
    for name in ("k", "epsilon"):
        assert members[name].shape == (3, 6, 5)
        assert members[name][:, :, -1].std(0).min() > 0
        torch.testing.assert_close(mean[name], members[name].log().mean(0).exp())


@pytest.mark.parametrize("kind", NETWORKS)
def test_members_are_models_of_their_own(kind: type[TurbulenceODE]) -> None:
    torch.manual_seed(0)
    together, single = kind(members=3).double(), kind(members=1).double()
    for mine, theirs in zip(single.parameters(), together.parameters(), strict=True):
        mine.data.copy_(theirs[1:2])
    state, times = states(), torch.linspace(0, 2, 5).double()
    all_three, alone = together.forecast_members(state, times), single.forecast(state, times)
    for name in ("k", "epsilon"):
        torch.testing.assert_close(all_three[name][1], alone[name], rtol=1e-10, atol=0)


def test_a_perceptron_of_members_is_many_perceptrons() -> None:
    torch.manual_seed(0)
    many = member_perceptron(3, (2, 5, 4))
    x = torch.randn(3, 7, 2)
    found = many(x)
    for member in range(3):
        one = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 4))
        for mine, theirs in ((one[0], many[0]), (one[2], many[2])):
            assert isinstance(theirs, MemberLinear)
            mine.weight.data.copy_(theirs.weight[member].T)
            mine.bias.data.copy_(theirs.bias[member, 0])
        torch.testing.assert_close(found[member], one(x[member]))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("k", torch.tensor([1.0, -2.0, 1.0]), r"k above 0, found -2 in k\[1\]"),
        ("epsilon", torch.tensor([1.0, 0.0, 1.0]), r"epsilon above 0, found 0"),
        ("nu", torch.tensor([1.0, 1.0, -0.1]), r"nu above 0, found -0.1 in nu\[2\]"),
        ("palinstrophy", torch.tensor([1.0, 1.0, -0.1]), "palinstrophy above 0"),
        ("skewness", torch.tensor([1.0, math.nan, 1.0]), r"finite numbers, found nan in skewness"),
        ("k", torch.tensor([1.0, math.inf, 1.0]), r"finite numbers, found inf in k\[1\]"),
        ("nu", torch.tensor([1.0, 1.0]), r"of one length, found \(2,\) for 'nu' and \(3,\)"),
        ("k", torch.ones(3, 1), "one length"),
        ("epsilon", torch.tensor(1.0), r"found \(\) for 'epsilon'"),
    ],
)
def test_a_bad_state_is_refused(name: str, value: Tensor, expected: str) -> None:
    state = states(3) | {name: value.double()}
    with pytest.raises(ValueError, match=expected):
        TurbulenceODE().forecast(state, torch.tensor([0.0, 1.0]))


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"found \(0,\)"):
        KEpsilon().forecast(states(3) | {"k": torch.empty(0)}, torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (torch.tensor([0.0, 1.0, 1.0]), "strictly increasing times, found 1 followed by 1"),
        (torch.tensor([[0.0, 1.0], [0.0, 2.0], [3.0, 2.0]]), "found 3 followed by 2"),
        (torch.tensor([0.0, math.nan]), "finite"),
        (torch.zeros(2, 4), "a row for each state, found 2 rows|2 rows"),
        (torch.tensor(1.0), r"\(T,\) or \(3, T\)"),
        (torch.empty(0), r"\(T,\) or \(3, T\)"),
        (torch.empty(3, 0), r"\(T,\) or \(3, T\)"),
    ],
)
def test_bad_times_are_refused(times: Tensor, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        KEpsilon().forecast(states(3), times)


def test_what_is_missing_is_named_and_what_is_not_used_is_not_looked_at() -> None:
    state = states()
    times = torch.tensor([0.0, 1.0])
    for name in ("k", "nu", "palinstrophy"):
        rest = {key: value for key, value in state.items() if key != name}
        with pytest.raises(ValueError, match=f"'{name}' is missing.*needs k, epsilon, nu"):
            TurbulenceODE().forecast(rest, times)
    junk = torch.full((6,), math.nan)
    used = {name: state[name] for name in ("k", "epsilon", "nu")}
    for model in (KEpsilon(), TurbulenceODE(inputs=())):
        found = model.forecast(used, times)
        again = model.forecast(used | {"skewness": junk, "colour": junk[:2]}, times)
        assert torch.equal(found["epsilon"], again["epsilon"])


def test_inputs_are_some_of_two() -> None:
    for inputs in (("colour",), ("skewness", "skewness")):
        with pytest.raises(ValueError, match="expected some of skewness, palinstrophy"):
            TurbulenceODE(inputs=inputs)
    assert TurbulenceODE(inputs=["palinstrophy", "skewness"]).inputs == ("skewness", "palinstrophy")


def test_counts_that_are_none_are_refused() -> None:
    for arguments in ({"members": 0}, {"hidden": 2.5}, {"latent": True}, {"encoder": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be an integer"):
            TurbulenceODE(**arguments)
    for kind in NETWORKS:
        with pytest.raises(ValueError, match="step must be above 0"):
            kind(step=0.0)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_state_outside_the_range_of_the_training_is_warned_of(kind: type[TurbulenceODE]) -> None:
    model = kind(members=1).double()
    state, times = states(), torch.tensor([0.0, 0.5])
    features = model.features(read_state(state))
    model.lowest.copy_(features.amin(0))
    model.highest.copy_(features.amax(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.forecast(state, times)
    # A hundredth of the viscosity of state 4 raises its ln Re_T by ln 100.
    outside = state | {"nu": state["nu"].clone()}
    outside["nu"][4] /= 100
    outside["palinstrophy"] = state["palinstrophy"] * (state["nu"] / outside["nu"]) ** 2
    value = float(features[4, 0]) + math.log(100)
    excess = value - float(features[:, 0].max())
    with pytest.warns(RangeWarning) as caught:
        model.forecast(outside, times)
    (warning,) = caught
    text = str(warning.message)
    assert f"ln Re_T = {value:.3g} of state 4" in text
    assert f"to {features[:, 0].max():.3g}, by {excess:.2g} (1 of 6" in text
    assert warning.filename == __file__
    assert issubclass(RangeWarning, UserWarning)


def test_elapsed_is_in_turnovers_of_the_start() -> None:
    state = states(2)
    start = read_state(state)
    tau = elapsed(start, torch.tensor([3.0, 3.5]).double())
    torch.testing.assert_close(tau[:, 1], 0.5 * state["epsilon"] / state["k"])
    assert torch.equal(tau[:, 0], torch.zeros(2).double())


def test_the_identity_needs_both() -> None:
    with pytest.raises(ValueError, match="needs skewness and palinstrophy"):
        Start(*torch.ones(3, 2)).identity()
