"""The picture of flows of the plane that model cards show.

    python -m zoo.training.flows.pictures NAME [NAME ...] --out flows.png
    python -m zoo.training.flows.pictures --card cnf-toy --out flows.png

draws a column for each flow: the true density, the flow's, samples, and paths from noise to data.
NAME is a model of the zoo or `local-dir:RUN/card`; --card takes all weights of a card.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from zoo import registry
from zoo.data import densities
from zoo.demo.curves import to_png
from zoo.demo.flows.measure import Detail, load, portray
from zoo.demo.flows.picture import draw_flows
from zoo.errors import WeightsError, ZooError
from zoo.training.files import write_atomically

__all__ = ["main", "names"]

DETAIL = Detail(side=200, samples=5_000, paths=64)


def names(card: str) -> list[str]:
    """`card.tag` for all weights of a card, those of toy densities first and in their order.

    Raises:
        UnknownNameError: there is no such card.
        WeightsError: it has no weights.
    """
    found = registry.info(card)
    if not found.weights:
        raise WeightsError(f"{card} has no weights yet: `python {found.recipe}` trains them")
    order = [tag for tag in densities.NAMES if tag in found.weights]
    return [f"{card}.{tag}" for tag in dict.fromkeys([*order, *found.weights])]


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, and write the picture; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.training.flows.pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--card", metavar="CARD", help="all weights of this card")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="PNG to write")
    parser.add_argument("--side", type=int, default=DETAIL.side, metavar="N", help="of the grid")
    parser.add_argument("--samples", type=int, default=DETAIL.samples, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise")
    options = parser.parse_args(argv)
    if bool(options.names) == (options.card is not None):
        parser.error("give names of models, or a card")
    if options.side < 2 or options.samples < 1:
        parser.error("a grid has at least two points along an axis, and there is a sample at least")
    detail = Detail(options.side, options.samples, DETAIL.paths)
    try:
        flows = [load(name) for name in options.names or names(options.card)]
        portraits = [portray(*flow, detail, options.seed) for flow in flows]
        write_atomically(options.out, to_png(draw_flows(portraits), 256))
    except (ZooError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
