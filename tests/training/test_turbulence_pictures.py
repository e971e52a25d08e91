"""The pictures of turbulence for the card, and the report of a training."""

import math
from pathlib import Path

import pytest
import torch

from tests.metrics.test_turbulence import TRUTH, decaying, power_law
from tests.turbulence_runs import write_ensemble
from zoo.data import decaying_turbulence
from zoo.demo.turbulence.measure import LEARNT
from zoo.errors import DataError
from zoo.metrics.turbulence_table import COLUMNS, rows
from zoo.models.k_epsilon import KEpsilon
from zoo.models.turbulence_ode import TurbulenceODE
from zoo.training import turbulence_pictures as pictures
from zoo.training.turbulence import Try
from zoo.training.turbulence_report import report


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ensemble(tmp_path_factory.mktemp("data") / "turbulence.safetensors")


def test_closures_are_shown_as_fitted_to_what_is_asked() -> None:
    def name(which: str) -> str:
        return f"k-epsilon, {which}"

    models = {
        each: KEpsilon(1 + index / 10)
        for index, each in enumerate(
            [
                LEARNT,
                name("1.92"),
                name("constant fitted"),
                name("constant fitted at the peak"),
                name("constant fitted self-similar"),
            ]
        )
    }
    shown = [LEARNT, name("1.92"), name("constant fitted there")]
    for protocol, expected in (("peak", 1.3), ("whole", 1.3), ("similar", 1.4)):
        found = pictures.fitted_there(models, protocol)
        assert list(found) == shown
        assert found[shown[2]].constant.item() == pytest.approx(expected)


def test_errors_are_drawn_over_time_in_percent() -> None:
    asked = {COLUMNS[0]: decaying(3, 2.0), COLUMNS[1]: decaying(2, 0.71)}
    models = {LEARNT: KEpsilon(TRUTH).double(), "other": KEpsilon(1.92).double()}
    figure = pictures.draw_errors(models, asked)
    assert [panel.get_title(loc="left") for panel in figure.axes[:2]] == [
        "unseen seeds",
        "self-similar",
    ]
    for index, panel in enumerate(figure.axes):
        horizon, which = (2.0, 0.71)[index % 2], 1 - index // 2
        lines = {line.get_label(): line for line in panel.get_lines()}
        tau = torch.linspace(0, horizon, 65, dtype=torch.float64)[1:]
        errors = (power_law(1.92, tau) / power_law(TRUTH, tau) - 1).abs()[which]
        assert lines["other"].get_xdata() == pytest.approx(tau.numpy())
        assert lines["other"].get_ydata() == pytest.approx(100 * errors.numpy(), rel=1e-5)
        assert lines[LEARNT].get_ydata() == pytest.approx(0, abs=1e-4)
        assert lines["other"].get_color() != lines[LEARNT].get_color()


def test_spectra_are_in_the_units_of_kolmogorov(ensemble: Path) -> None:
    runs = decaying_turbulence.load(path=ensemble)
    figure = pictures.draw_spectra(runs)
    left, right = figure.axes
    labels = [line.get_label() for line in left.get_lines()]
    # Five pairs of viscosity and spectrum, sorted, and the run of Wray.
    assert labels[0] == "viscosity 0.0085, k⁴" and "viscosity 0.0145, k²" in labels
    assert len(labels) == 5 and "Wray" in labels[-1]
    own = [run for run in runs if run.viscosity == 0.0085]
    curves = []
    for run in own:
        epsilon = max(run.dissipation.tolist())
        eta = (0.0085**3 / epsilon) ** 0.25
        # The energy of the shell κ, for κ = 1 ... 21, below 64/3.
        energy = [math.exp(-0.5 * shell) / (epsilon * 0.0085**5) ** 0.25 for shell in range(1, 22)]
        curves.append(([shell * eta for shell in range(1, 22)], energy))
    expected = torch.tensor(curves, dtype=torch.float64).mean(0)
    line, compensated = left.get_lines()[0], right.get_lines()[0]
    assert line.get_xdata() == pytest.approx(expected[0].numpy(), rel=1e-6)
    assert line.get_ydata() == pytest.approx(expected[1].numpy(), rel=1e-6)
    product = expected[1] * expected[0] ** (5 / 3)
    assert compensated.get_ydata() == pytest.approx(product.numpy(), rel=1e-6)


def test_a_taylor_green_vortex_begins_with_its_dissipation() -> None:
    found = pictures.taylor_green(12, 100, until=1.0)
    assert found.points == 12 and len(found.time) == 101
    assert float(found.time[-1]) == pytest.approx(1)
    # 2 Z/R with Z = 3/8, and its series in time (Taylor and Green 1937).
    assert float(found.dissipation[0]) == pytest.approx(0.0075, rel=1e-6)
    t, r = 0.1, 100
    series = 1 - 6 * t / r + (5 / 48 + 18 / r**2) * t**2
    assert float(found.dissipation[10]) == pytest.approx(0.0075 * series, rel=1e-4)


def test_vortices_are_drawn_beside_the_reference_where_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "reference.gdiag"
    path.write_text("# t K -dK/dt Z\n# units\n0.0 0.125 0.0 0.375\n1.0 0.12 0.0 0.4\n9.0 0.1 0 8\n")
    reference = pictures.read_reference(path)
    torch.testing.assert_close(
        reference,
        torch.tensor([[0.0, 1.0, 9.0], [0.375 / 800, 0.0005, 0.01]], dtype=torch.float64),
    )
    curve = pictures.Decay(12, torch.tensor([0.0, 2.0]), torch.tensor([0.1, 0.2]))
    figure = pictures.draw_taylor_green([curve], [curve, curve], reference)
    figure.draw_without_rendering()
    slow, fast = figure.axes
    assert [line.get_label() for line in slow.get_lines()] == ["12³", "peak, Brachet et al. 1983"]
    *_, line = fast.get_lines()
    # No further than the simulations go.
    assert line.get_xdata().tolist() == [0, 1]
    assert len(pictures.draw_taylor_green([curve], [curve], None).axes[1].get_lines()) == 1


def test_a_reference_of_another_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.txt"
    with pytest.raises(DataError, match=r"other\.txt cannot be read"):
        pictures.read_reference(path)
    path.write_text("1 2 3\n4 5 6\n")
    with pytest.raises(DataError, match=r"expected 4 columns .* found shape \(2, 3\)"):
        pictures.read_reference(path)


def test_the_command_draws_what_is_asked_for_and_says_what_is_wrong(
    ensemble: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "pictures"
    assert pictures.main(["spectra", "--out", str(out), "--data", str(ensemble)]) == 0
    assert capsys.readouterr().out.split() == [str(out / "spectra.png")]
    assert (out / "spectra.png").read_bytes()[:4] == b"\x89PNG"
    assert pictures.main(["spectra", "--out", str(out), "--data", str(tmp_path / "none")]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert pictures.main(["forecast", "--out", str(out), "--model", "cnn-robust"]) == 1
    assert "'cnn-robust' forecasts no turbulence: a CNNF" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pictures.main(["portrait", "--out", str(out)])
    assert "no picture 'portrait'; there are forecast, spectra" in capsys.readouterr().err


def test_the_report_counts_roll_outs_and_compares_error_and_spread() -> None:
    torch.manual_seed(0)
    network = TurbulenceODE(members=2, hidden=2, encoder=2).eval()
    models = {LEARNT: network, "ends": KEpsilon(0.9).double()}
    # With C = 0.9 all is over at 10 k₀/ε₀: within 5 times 2.01, and not within 5 times 1.
    asked = {COLUMNS[0]: decaying(3, 2.01), COLUMNS[2]: decaying(2, 1.0)}
    tries = [Try("ode", 1e-2, 0.0, 0.5, 0.25, chosen=True), Try("ode", 3e-3, 0.1, 0.125, 0.75)]
    text = report(rows(models, asked), models, asked, tries)
    assert "| ends | 0 of 3 | 2 of 2 |" in text
    assert "| ode | 0.01 | 0 | 5.000e-01 | 2.500e-01 | kept |" in text
    assert "| ode | 0.003 | 0.1 | 1.250e-01 | 7.500e-01 |  |" in text
    spread = text.split("## Spread")[1].split("## Tries")[0]
    # One line for each ensemble, of a head and a rule.
    assert spread.count("\n|") == 3 and "| neural ODE |" in spread
