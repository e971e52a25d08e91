"""Tables: made-up files in the published layouts, against the steps that define each."""

import gzip
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from zoo.data import tabular as module
from zoo.data.tabular import NAMES, Parts, Table, tabular
from zoo.errors import DataError, UnknownNameError


def write_maf(root: Path, name: str, data: np.ndarray) -> np.ndarray:
    path = root / "maf" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, data)
    return data


def joined(parts: Parts) -> torch.Tensor:
    return torch.cat(tuple(parts)).double()


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """A folder with a small `toy` table: two columns on a grid, a point mass, equal rows."""
    rng = np.random.default_rng(0)
    rows = np.round(rng.normal(size=(500, 3)) * [2, 1, 1] + [5, 0, 0], 1)
    rows[:, 2] = np.where(rng.random(500) < 0.3, 0.7, rng.normal(size=500))
    rows[-20:] = rows[:20]
    folder = tmp_path / "uci"
    folder.mkdir()
    with gzip.open(folder / "toy.txt.gz", "wt") as file:
        np.savetxt(file, rows)
    return tmp_path


TOY = Table("toy.txt", (500, 3), None, {0: 0.1, 1: 0.1}, without=(2,))


def load_toy(root: Path) -> Parts:
    with patch.dict(module.LOADERS, {"toy": lambda base: module._uci(base, table=TOY)}):
        return tabular("toy", root)


def test_the_parts_are_disjoint_and_standardised_by_the_first(plant: Path) -> None:
    parts = load_toy(plant)
    different = len(np.unique(np.loadtxt(plant / "uci" / "toy.txt.gz"), axis=0))
    held = different // 10
    assert [len(part) for part in parts] == [different - 2 * held, held, held]
    assert len(torch.unique(joined(parts), dim=0)) == different <= 480
    assert all(part.dtype == torch.float32 and part.shape[1] == 2 for part in parts)
    torch.testing.assert_close(parts.train.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(parts.train.std(0, correction=0), torch.ones(2))
    assert parts.test.std(0, correction=0).sub(1).abs().min() > 1e-4


def test_rounded_values_are_spread_over_their_cells_and_no_further(plant: Path) -> None:
    rows = np.unique(np.loadtxt(plant / "uci" / "toy.txt.gz"), axis=0)
    spread = joined(load_toy(plant)).numpy()
    # Up to the standardisation: undo it by the two moments of the training part before it.
    plain = np.sort(rows[:, 0])
    line = np.polyfit(np.sort(spread[:, 0]), plain, 1)
    assert np.abs(np.polyval(line, np.sort(spread[:, 0])) - plain).max() < 0.07
    assert len(np.unique(spread[:, 0])) == len(plain) > 3 * len(np.unique(plain))


def test_the_split_is_the_same_every_time(plant: Path) -> None:
    assert all(map(torch.equal, load_toy(plant), load_toy(plant)))


def test_power(tmp_path: Path) -> None:
    data = np.arange(8_000, dtype=np.float64).reshape(1_000, 8)
    write_maf(tmp_path, "power/data.npy", data)
    parts = tabular("power", tmp_path)
    assert [tuple(part.shape) for part in parts] == [(810, 6), (90, 6), (100, 6)]
    known = torch.cat([parts.train, parts.validation])
    torch.testing.assert_close(known.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(known.std(0, correction=0), torch.ones(6))
    rng = np.random.RandomState(42)
    order = np.arange(1_000)
    rng.shuffle(order)
    # The last column, the time, has no noise: it tells the order.
    ranks = joined(parts)[:, 5].argsort().argsort()
    assert torch.equal(ranks, torch.from_numpy(order))


def test_gas_drops_the_first_of_two_columns_that_say_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a, b, noise = rng.normal(size=(3, 1_000))
    data = np.stack([a, b, a + 0.01 * noise, -a], 1)
    write_maf(tmp_path, "gas/ethylene_CO.npy", data)
    parts = tabular("gas", tmp_path)
    assert [len(part) for part in parts] == [810, 90, 100]
    whole = (data - data.mean(0)) / data.std(0, ddof=1)
    np.testing.assert_allclose(joined(parts).numpy(), whole[:, [1, 2, 3]], atol=1e-6)


def test_hepmass_keeps_the_signal_and_the_continuous_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "maf" / "hepmass"
    folder.mkdir(parents=True)
    features = {}
    for part, n, further in (("train", 400, 0), ("test", 100, 1)):
        table = np.column_stack([np.arange(n) % 2, rng.normal(size=(n, 27 + further))])
        table[:, 4] = np.abs(table[:, 4]).round()  # many zeros, the smallest value
        features[part] = np.delete(table[table[:, 0] == 1], [0, 4, *[28] * further], axis=1)
        np.savetxt(folder / f"1000_{part}.csv", table, delimiter=",", header="label", comments="# ")
    parts = tabular("hepmass", tmp_path)
    assert [tuple(part.shape) for part in parts] == [(180, 26), (20, 26), (50, 26)]
    train = features["train"]
    expected = (features["test"] - train.mean(0)) / train.std(0, ddof=1)
    np.testing.assert_allclose(parts.test.numpy(), expected, atol=1e-5)


def test_miniboone_and_bsds300(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = write_maf(tmp_path, "miniboone/data.npy", 3 + rng.normal(size=(200, 43)))
    parts = tabular("miniboone", tmp_path)
    known = data[:180]
    expected = (data[180:] - known.mean(0)) / known.std(0)
    np.testing.assert_allclose(parts.test.numpy(), expected, atol=1e-5)
    (tmp_path / "maf" / "BSDS300").mkdir()
    patches = {part: rng.normal(size=(5, 63)) for part in ("train", "validation", "test")}
    np.savez(tmp_path / "maf" / "BSDS300" / "BSDS300.npz", **patches)
    bsds = tabular("bsds300", tmp_path)._asdict()
    for part, expected in patches.items():
        np.testing.assert_allclose(bsds[part].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_table_says_how_to_get_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"looked for[^\n]*\n  get .*(zenodo|uci\.edu)"):
        tabular(name, tmp_path)


@pytest.mark.parametrize("name", ["gas", "bsds300"])
def test_what_is_published_in_another_format_has_its_command(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match='python -c "import'):
        tabular(name, tmp_path)


def test_a_table_of_another_shape_is_refused(plant: Path) -> None:
    rows = np.loadtxt(plant / "uci" / "toy.txt.gz")[1:]
    np.savetxt(plant / "uci" / "toy.txt", rows)
    with pytest.raises(DataError, match=r"expected a table of \(500, 3\), found \(499, 3\)"):
        load_toy(plant)
    write_maf(plant, "power/data.npy", np.zeros((5, 7)))
    with pytest.raises(DataError, match="expected a table of 8 columns"):
        tabular("power", plant)


def test_damage_is_reported(plant: Path) -> None:
    (plant / "uci" / "toy.txt.gz").write_bytes(b"\x1f\x8b not gzip")
    with pytest.raises(DataError, match="cannot be read"):
        load_toy(plant)
    write_maf(plant, "miniboone/data.npy", np.full((50, 3), np.nan))
    with pytest.raises(DataError, match="not finite"):
        tabular("miniboone", plant)


def test_an_unknown_table_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="power-plant"):
        tabular("power_plant", ".")
