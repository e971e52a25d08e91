"""Tables of real numbers, for the estimation of densities: three of UCI's, and the five of MAF.

    parts = tabular("power-plant", root)
    parts.train, parts.validation, parts.test  # (N, D), float32, standardised

From UCI, below `root/uci/`, in text with one row per line, packed (`.gz`) or not:

    power-plant   power-plant.txt   9,568 x 5   Combined Cycle Power Plant (Tüfekci, 2014)
    kin40k        kin40k.csv        40,000 x 9  forward kinematics of a robot arm, simulated
    protein       protein.csv       45,730 x 10 physicochemical properties of protein structure

A density wants values that do not repeat; where they do, a model can put as much density there as
it likes, and its likelihood says nothing. So equal rows count once (and none is in two parts),
values that were rounded to a grid are spread evenly over its cells, and a column with a point mass
is left out: of `protein` the eighth is a whole number and the ninth has 1 % of its values in one
point. UCI's `keggdirected` is not here: nearly all of its columns are counts, or ratios of counts
with more than a tenth of the values in one point.

The five of Papamakarios et al., "Masked Autoregressive Flow for Density Estimation", NeurIPS 2017,
arXiv 1705.07057, as on Zenodo (1161203) and with the preprocessing of their code
(`zoo.data.maf_tables`): `power`, `gas`, `hepmass`, `miniboone`, `bsds300`. Those loaders have been
tested on made-up files of the same layout only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo._names import did_you_mean
from zoo.data import maf_tables
from zoo.data.folders import data_root
from zoo.errors import DataError, UnknownNameError

__all__ = ["NAMES", "Parts", "tabular"]

SEED = 20_260_101
"""Of the splits and of the spreading of rounded values, the same for all."""
HELD_OUT = 0.1
"""Share of the validation part, and of the test part."""


class Parts(NamedTuple):
    """The three parts of a table: (N, D), float32."""

    train: Tensor
    validation: Tensor
    test: Tensor


@dataclass(frozen=True)
class Table:
    """A text file of UCI's.

    Args:
        file: without `.gz`.
        shape: of the whole table.
        separator: of the values of a row; None: white space.
        grid: column -> distance of the values that it was rounded to.
        without: columns that are left out.
    """

    file: str
    shape: tuple[int, int]
    separator: str | None
    grid: Mapping[int, float]
    without: tuple[int, ...] = ()


TABLES: Mapping[str, Table] = {
    "power-plant": Table("power-plant.txt", (9_568, 5), None, dict.fromkeys(range(5), 0.01)),
    "kin40k": Table("kin40k.csv", (40_000, 9), ",", {}),
    "protein": Table("protein.csv", (45_730, 10), ",", {7: 1.0}, without=(8,)),
}


def tabular(name: str, root: str | Path | None = None) -> Parts:
    """The table `name`, split and standardised by the mean and deviation of what is not for tests.

    UCI's are split at random, 80 to 10 to 10, with a fixed seed, and standardised by the training
    part; MAF's as its code does.

    Args:
        name: one of `NAMES`.
        root: Folder of the data sets; default $ZOO_DATA.

    Raises:
        UnknownNameError: there is no such table.
        DataError: it is not here, or damaged.
    """
    if name not in LOADERS:
        raise UnknownNameError(f"no table {name!r}{did_you_mean(name, LOADERS)}")
    parts = LOADERS[name](data_root(root))
    for part in parts:
        if not np.isfinite(part).all():
            raise DataError(f"{name}: holds values that are not finite, or a constant column")
    return Parts(*(torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in parts))


def _uci(root: Path, *, table: Table) -> maf_tables.Arrays:
    rows = np.unique(_read(root, table), axis=0)
    generator = torch.Generator().manual_seed(SEED)
    order = torch.randperm(len(rows), generator=generator).numpy()
    spread = torch.rand(rows.shape, generator=generator, dtype=torch.float64).numpy() - 0.5
    width = np.array([table.grid.get(column, 0.0) for column in range(rows.shape[1])])
    rows = np.delete((rows + width * spread)[order], table.without, axis=1)
    held = int(HELD_OUT * len(rows))
    train, validation, test = rows[: -2 * held], rows[-2 * held : -held], rows[-held:]
    mean, deviation = train.mean(0), train.std(0)
    return (
        (train - mean) / deviation,
        (validation - mean) / deviation,
        (test - mean) / deviation,
    )


def _read(root: Path, table: Table) -> NDArray[np.float64]:
    folder = root / "uci"
    paths = [folder / f"{table.file}{suffix}" for suffix in ("", ".gz")]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise DataError(
            f"{table.file} is not here: looked for {paths[0]} and {paths[1].name}\n"
            "  get the table from https://archive.ics.uci.edu and write it there as text, one row "
            "a line, without a header"
        )
    try:
        # NumPy unpacks by the name.
        rows = np.loadtxt(found[0], delimiter=table.separator, ndmin=2)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{found[0]} cannot be read: {error}") from error
    if rows.shape != table.shape:
        raise DataError(f"{found[0]}: expected a table of {table.shape}, found {rows.shape}")
    return rows


LOADERS: Mapping[str, Callable[[Path], maf_tables.Arrays]] = {
    **{name: partial(_uci, table=table) for name, table in TABLES.items()},
    **maf_tables.LOADERS,
}
"""Name -> function of the folder of all data sets; gives the three parts in float64."""

NAMES = tuple(LOADERS)
"""Of the tables."""
