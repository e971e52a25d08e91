"""The command `zoo simulate`: its options, and from them to an ensemble in a folder.

The options are read without torch, which the simulations need.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.simulations.design import Design
    from zoo.simulations.ensemble import Settings

__all__ = ["EXAMPLES", "TEXT", "OptionError", "add_turbulence", "shard_option", "simulate"]

EXAMPLES = (
    "zoo simulate turbulence --dry-run",
    "zoo simulate turbulence --out runs/turbulence --threads 1",
    "zoo simulate turbulence --out runs/turbulence --shard 2/3",
    "zoo simulate turbulence --report --markdown",
    "zoo simulate turbulence --out runs/own --viscosity 0.03 0.02 --points 64 96",
    "zoo simulate turbulence --out runs/gpu --design gpu --device cuda",
)

TEXT = """\
decaying isotropic turbulence in a periodic box, by a pseudo-spectral direct
numerical simulation: an ensemble of runs, their statistics against time.

The same command goes on where it was stopped, with the same result. Started
several times for one folder, the processes share the runs among them; --shard
is for machines that cannot see each other's locks. When the last run is there
DIR/turbulence.safetensors is written and a table of the runs is printed.

designs:
  cpu    what comes with the zoo: 80^3 to 140^3 points, less than an hour on
         two cores
  smoke  a few runs at 16^3 and 24^3, in seconds; under-resolved, of no use
         but to try the command
  gpu    80^3 to 432^3 points, viscosities over almost a decade; has never
         been run"""

OWN = ("points", "seeds", "peak_wavenumber", "spectrum", "split", "resolution")
"""Options that make sense with --viscosity only."""


class OptionError(ZooError, ValueError):
    """Options of the command that do not fit together."""


def add_turbulence(parser: argparse.ArgumentParser) -> None:
    """Add the options of `zoo simulate turbulence`."""
    text = "folder to write; --dry-run needs none, --report without it is about the zoo's own runs"
    parser.add_argument("--out", type=Path, metavar="DIR", help=text)
    parser.add_argument("--design", metavar="NAME", help="cpu, smoke or gpu (default: cpu)")
    own = parser.add_argument_group("a design of your own, instead of --design")
    own.add_argument("--viscosity", type=float, nargs="+", metavar="NU", help="one or more")
    text = "points a side, one for all viscosities or one for each"
    own.add_argument("--points", type=int, nargs="+", metavar="N", help=text)
    own.add_argument("--seeds", type=int, nargs="+", metavar="N", help="default: 0")
    text = "of the energy spectrum at the start (default: 3)"
    own.add_argument("--peak-wavenumber", type=float, metavar="K", help=text)
    text = "k4 or k2: slope of the spectrum below its peak (default: k4)"
    own.add_argument("--spectrum", metavar="NAME", help=text)
    text = "what the runs are for: train, validation, test-seed ... (default: train)"
    own.add_argument("--split", metavar="NAME", help=text)
    text = "least kmax*eta before a run is given up, 0 for no check (default: 1.5)"
    own.add_argument("--resolution", type=float, metavar="X", help=text)
    numerics = parser.add_argument_group("how it is computed")
    numerics.add_argument("--cfl", type=float, default=1.0, help="CFL number (default: 1)")
    text = "time between two outputs (default: 0.05)"
    numerics.add_argument("--every", type=float, default=0.05, metavar="T", help=text)
    numerics.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    text = "float32 or float64 (default: float32)"
    numerics.add_argument("--dtype", default="float32", metavar="TYPE", help=text)
    numerics.add_argument("--threads", type=int, metavar="N", help="of the CPU (default: torch's)")
    text = "every n-th run from the i-th on, i from 1 (default: 1/1)"
    numerics.add_argument("--shard", type=shard_option, default=(1, 1), metavar="I/N", help=text)
    instead = parser.add_mutually_exclusive_group()
    text = "print the runs and what they cost, and stop"
    instead.add_argument("--dry-run", action="store_true", help=text)
    text = "print the table of an ensemble that is there, and stop"
    instead.add_argument("--report", action="store_true", help=text)
    text = "print tables as Markdown"
    parser.add_argument("--markdown", action="store_true", help=text)


def simulate(arguments: argparse.Namespace) -> None:
    """Run `zoo simulate turbulence`.

    Raises:
        ZooError: the options do not fit together, or something went wrong.
    """
    from zoo.simulations import report
    from zoo.simulations.folder import ENSEMBLE

    def show(table: report.Table) -> None:
        print(table.markdown() if arguments.markdown else table.text())

    if arguments.report:
        show(report.ensemble(arguments.out and arguments.out / ENSEMBLE))
        return
    if arguments.out is None and not arguments.dry_run:
        raise OptionError("--out DIR is missing: the folder to write, or to go on with")
    settings = _settings(arguments)
    if arguments.dry_run:
        show(report.plan(settings, arguments.shard))
        return
    made = _simulate(arguments, settings)
    if made is None:
        print(f"{arguments.out}: there are runs still to be done", file=sys.stderr)
        return
    print(made)
    show(report.ensemble(made))


def _simulate(arguments: argparse.Namespace, settings: Settings) -> Path | None:
    import torch

    from zoo.simulations import ensemble

    if arguments.threads is not None:
        if arguments.threads < 1:
            raise OptionError(f"--threads: expected at least 1, found {arguments.threads}")
        torch.set_num_threads(arguments.threads)
    return ensemble.simulate(arguments.out, settings, part=arguments.shard)


def _settings(arguments: argparse.Namespace) -> Settings:
    from zoo.simulations.ensemble import Settings

    try:
        return Settings(
            _design(arguments),
            cfl=arguments.cfl,
            every=arguments.every,
            dtype=arguments.dtype,
            device=arguments.device,
        )
    except ZooError:
        raise
    except ValueError as error:
        raise OptionError(str(error)) from error


def _design(arguments: argparse.Namespace) -> Design:
    """The named design, or the one that the options describe."""
    from zoo.simulations.design import Condition, Design, find

    own = {name: value for name in OWN if (value := getattr(arguments, name)) is not None}
    if arguments.viscosity is None:
        if own:
            option = next(iter(own)).replace("_", "-")
            raise OptionError(f"--{option} needs --viscosity: it is for a design of your own")
        return find(arguments.design or "cpu")
    if arguments.design is not None:
        raise OptionError("--design and --viscosity: expected one of them, found both")
    if "points" not in own:
        raise OptionError("--viscosity needs --points, the size of the grid")
    resolution = own.pop("resolution", 1.5)
    seeds = tuple(own.pop("seeds", (0,)))
    split = own.pop("split", "train")
    points: Sequence[int] = own.pop("points")
    if len(points) == 1:
        points = list(points) * len(arguments.viscosity)
    if len(points) != len(arguments.viscosity):
        raise OptionError(
            f"--points: expected one number or as many as viscosities, "
            f"{len(arguments.viscosity)}, found {len(points)}"
        )
    conditions = tuple(
        Condition(split, size, viscosity, seeds=seeds, **own)
        for size, viscosity in zip(points, arguments.viscosity, strict=True)
    )
    return Design("custom", conditions, resolution)


def shard_option(text: str) -> tuple[int, int]:
    """The option I/N of a simulation that several machines share."""
    index, _, count = text.partition("/")
    try:
        part = int(index), int(count)
    except ValueError:
        part = 0, 0
    if not 1 <= part[0] <= part[1]:
        raise argparse.ArgumentTypeError(f"expected i/n with 1 <= i <= n, found {text!r}")
    return part
