"""The five tables of MAF in the preprocessing of its code (gpapamak/maf, `datasets/*.py`).

Everybody's numbers on POWER, GAS, HEPMASS, MINIBOONE and BSDS300 are of this preprocessing: the
columns that it drops, the noise that it adds, the split, the standardisation by training and
validation part together where it has it.

The archive is https://zenodo.org/records/1161203; it belongs below `root/maf/`:

    tar xzf data.tar.gz -C root/maf --strip-components=1

Only NumPy's own formats and text are read, no pickles. Two files have to be written anew once; the
error of a missing one has the command.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError

__all__ = ["LOADERS", "Arrays"]

Array = NDArray[np.float64]
Arrays = tuple[Array, Array, Array]
"""Training, validation and test part, each (N, D)."""

REPEATS = 5
"""The smallest value of a column of HEPMASS that is there more often makes it a discrete one."""
CORRELATED = 0.98
"""Of two columns of GAS with a larger correlation the first is dropped."""
HEPMASS_FEATURES = 27

GAS_COMMAND = (
    'python -c "import numpy, pandas; '
    "t = pandas.read_pickle('ethylene_CO.pickle').drop(columns=['Meth', 'Eth', 'Time']); "
    "numpy.save('ethylene_CO.npy', t.to_numpy('float64'))\""
)
BSDS_COMMAND = (
    "python -c \"import h5py, numpy; f = h5py.File('BSDS300.hdf5'); "
    "numpy.savez('BSDS300.npz', **{k: f[k][:] for k in ('train', 'validation', 'test')})\""
)


def _power(root: Path) -> Arrays:
    """POWER: the noise undoes the rounding of the meters; the time of day has none."""
    rng = np.random.RandomState(42)
    data = _load(root, "power/data.npy", columns=8)
    rng.shuffle(data)
    n = len(data)
    data = np.delete(np.delete(data, 3, axis=1), 1, axis=1)
    voltage, gap, meters = 0.01 * rng.rand(n, 1), 0.001 * rng.rand(n, 1), rng.rand(n, 3)
    noise = np.hstack((gap, voltage, meters, np.zeros((n, 1))))
    return _standardised(_tails(data + noise))


def _gas(root: Path) -> Arrays:
    """GAS: standardised as a whole, before the split."""
    data = _load(root, "gas/ethylene_CO.npy", hint=GAS_COMMAND)
    while True:
        related = (np.corrcoef(data, rowvar=False) > CORRELATED).sum(1) > 1
        if not related.any():
            break
        data = np.delete(data, np.flatnonzero(related)[0], axis=1)
    return _tails((data - data.mean(0)) / data.std(0, ddof=1))


def _hepmass(root: Path) -> Arrays:
    """HEPMASS: the signal events only, without columns of few values."""
    train, test = (_events(root / "maf" / "hepmass" / f"1000_{part}.csv") for part in PARTS)
    mean, deviation = train.mean(0), train.std(0, ddof=1)
    train, test = (train - mean) / deviation, (test - mean) / deviation
    keep = [(column == column.min()).sum() <= REPEATS for column in train.T]
    train, test = train[:, keep], test[:, keep]
    held = int(0.1 * len(train))
    return train[:-held], train[-held:], test


PARTS = ("train", "test")


def _events(path: Path) -> Array:
    """The features of the rows with label 1. In the test file a further column follows them."""
    if not path.is_file():
        raise DataError(_how_to_get(path))
    try:
        table = np.loadtxt(
            path, delimiter=",", skiprows=1, usecols=range(1 + HEPMASS_FEATURES), ndmin=2
        )
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    signal: Array = table[table[:, 0] == 1, 1:]
    return signal


def _miniboone(root: Path) -> Arrays:
    """MINIBOONE: outliers and discrete columns are gone in the published file already."""
    return _standardised(_tails(_load(root, "miniboone/data.npy")))


def _bsds300(root: Path) -> Arrays:
    """BSDS300: patches of 8 x 8 pixels less their mean, 63 numbers; used as published."""
    path = root / "maf" / "BSDS300" / "BSDS300.npz"
    if not path.is_file():
        raise DataError(_how_to_get(path, BSDS_COMMAND))
    try:
        with np.load(path, allow_pickle=False) as archive:
            train, validation, test = (
                archive[part].astype(np.float64) for part in ("train", "validation", "test")
            )
    except (OSError, EOFError, KeyError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return train, validation, test


def _load(root: Path, name: str, *, columns: int | None = None, hint: str | None = None) -> Array:
    path = root / "maf" / name
    if not path.is_file():
        raise DataError(_how_to_get(path, hint))
    try:
        data: Array = np.load(path, allow_pickle=False).astype(np.float64)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if data.ndim != 2 or (columns is not None and data.shape[1] != columns):
        raise DataError(
            f"{path}: expected a table of {columns or 'some'} columns, found shape {data.shape}"
        )
    return data


def _tails(data: Array) -> Arrays:
    """The last tenth for tests, the last tenth of the rest for validation."""
    rest, test = data[: -int(0.1 * len(data))], data[-int(0.1 * len(data)) :]
    held = int(0.1 * len(rest))
    return rest[:-held], rest[-held:], test


def _standardised(parts: Arrays) -> Arrays:
    """By training and validation part together."""
    train, validation, test = parts
    known = np.vstack((train, validation))
    mean, deviation = known.mean(0), known.std(0)
    return (train - mean) / deviation, (validation - mean) / deviation, (test - mean) / deviation


def _how_to_get(path: Path, command: str | None = None) -> str:
    base = path.parent.parent
    text = (
        f"the table is not here: looked for {path}\n"
        "  get data.tar.gz from https://zenodo.org/records/1161203\n"
        f"  mkdir -p {base} && tar xzf data.tar.gz -C {base} --strip-components=1"
    )
    return text if command is None else f"{text}\n  cd {path.parent} && {command}"


LOADERS: Mapping[str, Callable[[Path], Arrays]] = {
    "power": _power,
    "gas": _gas,
    "hepmass": _hepmass,
    "miniboone": _miniboone,
    "bsds300": _bsds300,
}
"""Name -> function of the folder of all data sets."""
