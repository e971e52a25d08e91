"""The reader of the 512³ decay, on files of its layout that are made here."""

import hashlib
from pathlib import Path

import pytest
import torch

from zoo.data import wray_decay
from zoo.errors import DataError

TIMES = [0.5, 1.0, 2.214, 3.0, 4.0]
SPECTRA = [0.9, 1.5, 2.1, 2.7, 3.3, 4.1]
WAVENUMBERS = torch.arange(242, dtype=torch.float64)


def energy(time: float) -> float:
    return time**-1.3


def spectrum(time: float) -> torch.Tensor:
    """Its palinstrophy is 7 t^-2.5."""
    shape = WAVENUMBERS * (-WAVENUMBERS / 20).exp()
    return shape * 7 * time**-2.5 / (WAVENUMBERS**4 * shape).sum()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "turbulence" / "decaying-512"
    folder.mkdir(parents=True)
    header = ["HOM02"] + ["words"] * 12
    rows = [f"  {t:.4E}  {energy(t):.4E}  {100 / t:.4E}  3.0E-01  {0.1 * t:.4E}" for t in TIMES]
    (folder / "CB512.f_t").write_text("\n".join([*header, *rows]) + "\n")
    lines = ["nk t", "E(0,t)", "..."]
    for t in SPECTRA:
        lines += [f" 242 {t:.5E}", *(f" {value:.8E}" for value in spectrum(t).tolist())]
    (folder / "CB512.es").write_text("\n".join(lines) + "\n")
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    monkeypatch.setattr(wray_decay, "SHA256", sums)
    return tmp_path


def test_the_series_are_those_of_the_file(root: Path) -> None:
    found = wray_decay.find(root)
    assert found is not None
    time = torch.tensor(TIMES, dtype=torch.float64)
    torch.testing.assert_close(found.time, time)
    torch.testing.assert_close(found.kinetic_energy, time**-1.3, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.dissipation, 3.5014006e-4 * 100 / time, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.skewness, -0.1 * time, rtol=1e-4, atol=0)
    spectra = torch.tensor(SPECTRA, dtype=torch.float64)
    torch.testing.assert_close(found.spectra_time, spectra)
    torch.testing.assert_close(found.palinstrophy, 7 * spectra**-2.5, rtol=1e-6, atol=0)


def test_the_forecast_begins_at_the_row_of_the_start(root: Path) -> None:
    found = wray_decay.find(root)
    assert found is not None
    problem = wray_decay.problem(found)
    torch.testing.assert_close(problem.times, found.time[2:].unsqueeze(0) - 2.214)
    assert float(problem.times[0, 0]) == 0
    assert float(problem.state["k"]) == float(problem.k[0, 0]) == pytest.approx(energy(2.214), 1e-4)
    assert torch.equal(problem.state["epsilon"], problem.epsilon[:, 0])
    assert float(problem.state["skewness"]) == pytest.approx(-0.2214)
    assert float(problem.state["palinstrophy"]) == pytest.approx(7 * 2.214**-2.5, rel=2e-3)
    assert float(problem.state["nu"]) == 3.5014006e-4
    assert problem.epsilon.shape == (1, 3)


def test_it_is_found_below_the_folder_of_the_data_sets_or_not_at_all(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZOO_DATA", raising=False)
    assert wray_decay.find() is None
    monkeypatch.setenv("ZOO_DATA", str(root))
    assert wray_decay.find() is not None
    (root / "turbulence" / "decaying-512" / "CB512.es").unlink()
    assert wray_decay.find() is None


def test_another_file_is_refused(root: Path) -> None:
    with (root / "turbulence" / "decaying-512" / "CB512.f_t").open("a") as file:
        file.write("  5.0  1.0  1.0  1.0  1.0\n")
    with pytest.raises(DataError, match=r"CB512\.f_t is another file: expected sha256"):
        wray_decay.find(root)
