"""The command `zoo simulate robot`: its options, and from them to a folder of scenes."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from zoo.simulations.command import OptionError, shard_option

__all__ = ["EXAMPLES", "TEXT", "add_robot", "simulate"]

EXAMPLES = (
    "zoo simulate robot --data ~/data",
    "zoo simulate robot --out /tmp/scenes --size 128 --count 5000 --arm jaco",
    "zoo simulate robot --fix object_scale=3 lighting_y_dir=2 --data ~/data",
    "zoo simulate robot --count 737280 --shard 2/8 --out scenes",
)

TEXT = """\
a kitchen with a robot that holds an object, in nine factors: scenes drawn by
MuJoCo, a stand-in for Isaac3D with its factors, values and numbering.

Needs `pip install 'structured-zoo[robot]'` and OpenGL, but no display and no
GPU. The same command goes on where it was stopped, with the same result;
a larger --count adds scenes"""


def add_robot(parser: argparse.ArgumentParser) -> None:
    """Add the options of `zoo simulate robot`."""
    text = "folder to write (default: robot-scenes/ARM-SIZE below the folder of the data sets)"
    parser.add_argument("--out", type=Path, metavar="DIR", help=text)
    text = "folder of the data sets (default: $ZOO_DATA)"
    parser.add_argument("--data", type=Path, metavar="DIR", help=text)
    text = "side of the images in pixels (default: 64)"
    parser.add_argument("--size", type=int, default=64, metavar="N", help=text)
    text = "number of scenes (default: 20000)"
    parser.add_argument("--count", type=int, default=20000, metavar="N", help=text)
    text = "primitive, or jaco, which needs `pip install --no-deps dm-control` (default: primitive)"
    parser.add_argument("--arm", default="primitive", metavar="NAME", help=text)
    text = "which scenes, and in which order (default: 0)"
    parser.add_argument("--seed", type=int, default=0, metavar="N", help=text)
    text = "factors that have one value only: its index, from 0"
    parser.add_argument(
        "--fix", type=_fixed, nargs="+", default=[], metavar="FACTOR=INDEX", help=text
    )
    text = "every n-th file of 250 scenes from the i-th on, i from 1 (default: 1/1)"
    parser.add_argument("--shard", type=shard_option, default=(1, 1), metavar="I/N", help=text)
    text = "processes (default: one for each core)"
    parser.add_argument("--workers", type=int, metavar="N", help=text)


def simulate(arguments: argparse.Namespace) -> None:
    """Run `zoo simulate robot`.

    Raises:
        ZooError: the options do not fit together, or something went wrong.
    """
    from zoo.simulations.robot_chunks import Ensemble
    from zoo.simulations.robot_scene import check

    if arguments.workers is not None and arguments.workers < 1:
        raise OptionError(f"--workers: expected at least 1, found {arguments.workers}")
    try:
        check(arguments.size, arguments.arm)
        ensemble = Ensemble(arguments.arm, arguments.size, arguments.seed)
    except ValueError as error:
        raise OptionError(f"--{error}") from error
    try:
        ensemble = replace(ensemble, fixed=dict(arguments.fix))
    except ValueError as error:
        raise OptionError(f"--fix: {error}") from error
    try:
        ensemble.numbers(arguments.count)
    except ValueError as error:
        raise OptionError(f"--{error}") from error
    out = _folder(arguments, ensemble.name)
    from zoo.simulations.robot_ensemble import simulate as draw

    draw(out, ensemble, arguments.count, part=arguments.shard, workers=arguments.workers)
    print(out)


def _folder(arguments: argparse.Namespace, name: str) -> Path:
    if arguments.out is not None:
        if arguments.data is not None:
            raise OptionError("--out and --data: expected one of them, found both")
        return Path(arguments.out)
    from zoo.simulations.robot_chunks import FOLDER

    data = arguments.data or os.environ.get("ZOO_DATA")
    if not data:
        raise OptionError("--out DIR is missing: the folder to write; or --data, or ZOO_DATA")
    return Path(data).expanduser() / FOLDER / name


def _fixed(text: str) -> tuple[str, int]:
    name, _, index = text.partition("=")
    if not index.isdecimal():
        raise argparse.ArgumentTypeError(f"expected FACTOR=INDEX, found {text!r}")
    return name, int(index)
