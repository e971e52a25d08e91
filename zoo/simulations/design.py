"""Which runs an ensemble of decaying isotropic turbulence consists of, and in which order.

Nothing is computed here. A design is a tuple of conditions; every seed of a condition is a run.
The resolution of the designs follows from η ∝ ν^(3/4) at about the same dissipation: N ν^(3/4) is
at least 4.3, which gives kmax η of 1.5 and more at the peak of the dissipation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, TypeAlias, get_args

from zoo.errors import UnknownNameError

__all__ = [
    "DESIGNS",
    "QUANTITIES",
    "SPECTRA",
    "SPLITS",
    "Case",
    "Condition",
    "Design",
    "Spectrum",
    "Split",
    "find",
    "shard",
]

Spectrum: TypeAlias = Literal["k4", "k2"]
Split: TypeAlias = Literal["train", "validation", "test-seed", "test-viscosity", "test-spectrum"]

SPLITS: tuple[str, ...] = get_args(Split)

QUANTITIES = (
    "time",
    "kinetic_energy",
    "dissipation",
    "enstrophy_production",
    "palinstrophy",
    "skewness",
    "integral_scale",
    "reynolds_lambda",
    "kmax_eta",
)
"""Series of a run, one value for every output time."""

SPECTRA = ("spectrum_peak", "spectrum_end")
"""Energy in the shells, at the largest dissipation and at the end."""

DURATION = 5.5
"""About how long a run is. Only the estimate of its cost uses it."""


@dataclass(frozen=True)
class Case:
    """One run: a condition and one of its seeds."""

    split: Split
    points: int
    viscosity: float
    peak_wavenumber: float
    spectrum: Spectrum
    seed: int

    @property
    def name(self) -> str:
        """For example `nu0.0120-k4-seed3`; a peak elsewhere than at 3 is named as well."""
        short = f"{self.viscosity:.4f}"
        viscosity = short if float(short) == self.viscosity else repr(self.viscosity)
        peak = "" if self.peak_wavenumber == 3 else f"-peak{self.peak_wavenumber:g}"
        return f"nu{viscosity}-{self.spectrum}{peak}-seed{self.seed}"

    def steps(self, cfl: float) -> float:
        """About how many steps the run takes: 430 at 64³ and a CFL number of 0.6 to t = 6."""
        return 430 * (self.points / 64) * (0.6 / cfl) * (DURATION / 6)

    def cost(self, cfl: float) -> float:
        """Work in arbitrary units, that of the transforms: N³ log N for every step."""
        return self.points**3 * math.log2(self.points) * self.steps(cfl)


@dataclass(frozen=True)
class Condition:
    """Runs that differ in their seeds alone.

    Args:
        split: what the runs are for.
        points: of the grid, N a side.
        viscosity: ν, in a box of side 2π and with a root mean square velocity of 1 at the start.
        peak_wavenumber: where the energy spectrum of the start has its peak.
        spectrum: its slope below the peak, `k4` or `k2`.
        seeds: one run each.

    Raises:
        ValueError: an argument is out of range.
    """

    split: Split
    points: int
    viscosity: float
    peak_wavenumber: float = 3.0
    spectrum: Spectrum = "k4"
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("split", self.split, SPLITS),
            ("spectrum", self.spectrum, get_args(Spectrum)),
        ):
            if value not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, found {value!r}")
        if self.points < 8 or self.points % 2:
            raise ValueError(f"points: expected an even number from 8 on, found {self.points}")
        for name, number in (
            ("viscosity", self.viscosity),
            ("peak_wavenumber", self.peak_wavenumber),
        ):
            if not 0 < number < math.inf:
                raise ValueError(f"{name}: expected a positive number, found {number}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: expected different numbers, found {list(self.seeds)}")

    def cases(self) -> list[Case]:
        """The runs, in the order of the seeds."""
        same = (self.split, self.points, self.viscosity, self.peak_wavenumber, self.spectrum)
        return [Case(*same, seed) for seed in self.seeds]


@dataclass(frozen=True)
class Design:
    """The conditions of an ensemble.

    Args:
        name: `custom` for one that was put together on the command line.
        conditions: what is simulated.
        resolution: the least kmax η that a run may have; 0 switches the check off.

    Raises:
        ValueError: two runs would have the same name.
    """

    name: str
    conditions: tuple[Condition, ...]
    resolution: float = 1.5

    def __post_init__(self) -> None:
        names = [case.name for each in self.conditions for case in each.cases()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"design {self.name}: two runs are called {twice[0]}; the same viscosity, spectrum "
                "and peak need different seeds in different conditions"
            )

    def cases(self) -> list[Case]:
        """All runs, in the order in which they are to be done.

        Whatever fraction of them is there, every condition has about that fraction of its seeds:
        the i-th of n seeds belongs at (i + 1/2) / n. Runs that belong at the same place go in the
        order of the design or backwards, whichever gives two shards more equal work.
        """
        placed = [
            ((index + 0.5) / len(condition.seeds), case)
            for condition in self.conditions
            for index, case in enumerate(condition.cases())
        ]
        placed.sort(key=lambda pair: pair[0])
        order: list[Case] = []
        for _, group in itertools.groupby(placed, key=lambda pair: pair[0]):
            cases = [case for _, case in group]
            order = min((order + cases, order + cases[::-1]), key=_imbalance)
        return order

    def as_dict(self) -> dict[str, Any]:
        """As JSON values; `from_dict` makes it a design again."""
        conditions = [asdict(each) | {"seeds": list(each.seeds)} for each in self.conditions]
        return {"name": self.name, "resolution": self.resolution, "conditions": conditions}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The design of `as_dict`.

        Raises:
            ValueError: the values are not those of a design.
        """
        try:
            conditions = tuple(
                Condition(**(dict(each) | {"seeds": tuple(each["seeds"])}))
                for each in values["conditions"]
            )
            return cls(values["name"], conditions, values["resolution"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a design of an ensemble: {error!r}") from error


def shard(cases: Iterable[Case], index: int, count: int) -> list[Case]:
    """Every `count`-th case from the `index`-th on, `index` from 1 to `count`.

    Raises:
        ValueError: there is no such shard.
    """
    if not 1 <= index <= count:
        raise ValueError(f"shard: expected i/n with 1 <= i <= n, found {index}/{count}")
    return list(cases)[index - 1 :: count]


def _imbalance(cases: Sequence[Case]) -> float:
    """How much more work one of two shards has than the other."""
    work = [case.cost(cfl=1.0) for case in cases]
    return abs(sum(work[::2]) - sum(work[1::2]))


def find(name: str) -> Design:
    """The design of this name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in DESIGNS:
        raise UnknownNameError(f"no design {name!r}; there are {', '.join(DESIGNS)}")
    return DESIGNS[name]


def _by_seed(train: int, *grids: tuple[float, int]) -> tuple[Condition, ...]:
    """Seeds of each pair of viscosity and grid: so many to learn from, then one and two unseen."""
    parts: tuple[tuple[Split, tuple[int, ...]], ...] = (
        ("train", tuple(range(train))),
        ("validation", (train,)),
        ("test-seed", (train + 1, train + 2)),
    )
    return tuple(
        Condition(split, points, viscosity, seeds=seeds)
        for split, seeds in parts
        for viscosity, points in grids
    )


DESIGNS: Mapping[str, Design] = {
    "cpu": Design(
        "cpu",
        (
            *_by_seed(4, (0.013, 112), (0.0155, 100), (0.018, 92), (0.022, 80)),
            Condition("test-viscosity", 140, 0.01, seeds=(0, 1, 2)),
            Condition("test-spectrum", 108, 0.0155, spectrum="k2", seeds=(0, 1, 2)),
        ),
    ),
    "smoke": Design(
        "smoke",
        (
            Condition("train", 16, 0.02, seeds=(0, 1)),
            Condition("test-seed", 16, 0.02, seeds=(2,)),
            Condition("test-viscosity", 24, 0.015, seeds=(0,)),
            Condition("test-spectrum", 16, 0.02, spectrum="k2", seeds=(0,)),
        ),
        resolution=0.0,
    ),
    # Never run so far.
    "gpu": Design(
        "gpu",
        (
            *_by_seed(5, (0.005, 256), (0.0075, 192), (0.011, 144), (0.016, 108), (0.022, 80)),
            Condition("test-viscosity", 432, 0.0025, seeds=(0, 1, 2)),
            Condition("test-spectrum", 192, 0.0075, spectrum="k2", seeds=(0, 1, 2, 3)),
        ),
    ),
}
