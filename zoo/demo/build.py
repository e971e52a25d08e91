"""Run the demo: measure, draw, write a folder, print the table."""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from zoo.data.fashion_mnist import fashion_mnist_sample
from zoo.data.images import ImageDataset
from zoo.demo.page import MARKER, write_page
from zoo.demo.scenes import KINDS, SEVERITIES, Scene, Score, choose, in_percent, scenes, scores
from zoo.demo.sheet import draw_sheet
from zoo.errors import ZooError

__all__ = ["DemoError", "DemoResult", "run"]

PAGE = "index.html"
NAMES = {"cnnf": "cnnf-robust", "cnn": "cnn-robust"}


class DemoError(ZooError, ValueError):
    """The demo cannot be written where it should be, or has been given a wrong setting."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo wrote and measured."""

    folder: Path
    index: Path
    sheets: tuple[Path, ...]
    scores: tuple[Score, ...]
    seconds: float


def run(
    out: str | Path = "zoo-demo",
    *,
    images: int = 8,
    seed: int = 0,
    sample: int = 1000,
    models: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> DemoResult:
    """Show how CNN-F and the plain CNN take noise, blur and occlusion; CPU, no network.

    Writes a PNG sheet for every corruption and `index.html`, which needs no other file, and prints
    the accuracies. The folder appears when all is done; a demo that is there is replaced.

    Args:
        out: Folder to write.
        images: Number of images on show, drawn by `seed`.
        seed: Chooses the images and the random part of their corruption.
        sample: Number of bundled test images, from the first on, that are used and scored.
        models: Networks to show instead of the pretrained ones, as "cnnf" and "cnn".
        console: Where to print; default the standard output.

    Raises:
        DemoError: `out` holds something else than a demo, or a number is out of range.
        WeightsError: the pretrained weights are missing or damaged.
        DataError: the bundled images are damaged.
    """
    began = time.monotonic()
    out, console = Path(out).expanduser().resolve(), console or Console()
    dataset = fashion_mnist_sample()
    for name, value, most in (("sample", sample, len(dataset)), ("images", images, sample)):
        if not 1 <= value <= most:
            raise DemoError(f"{name} must be 1 to {most}, found {value}")
    dataset = dataset.head(sample)
    with _workspace(out) as folder:
        pair, names = _networks(models)
        shown = choose(dataset, images, seed)
        drawn, rows = _measure(pair["cnnf"], pair["cnn"], dataset, shown, seed)
        for scene in drawn:
            draw_sheet(scene, dataset.classes).save(folder / f"{scene.name}.png", optimize=True)
        origin = (
            f"{names}; the first {sample:,} test images of Fashion-MNIST; seed {seed}. "
            "The images on show are drawn at random, not picked."
        )
        page = write_page(drawn, rows, dataset.classes, origin)
        (folder / PAGE).write_text(page, encoding="utf-8")
    result = DemoResult(
        folder=out,
        index=out / PAGE,
        sheets=tuple(out / f"{scene.name}.png" for scene in drawn),
        scores=tuple(rows),
        seconds=time.monotonic() - began,
    )
    _report(result, console)
    return result


def _networks(models: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], str]:
    """Both networks, and in words what they are."""
    if models is not None:
        return models, "Networks given by the caller"
    from zoo.factory import create
    from zoo.registry import find

    names = [f"{name}.{find(name)[1]}" for name in NAMES.values()]
    pair = {key: create(name, pretrained=True) for key, name in NAMES.items()}
    return pair, f"{' and '.join(names)} with their bundled weights"


def _measure(
    cnnf: Any, cnn: Any, dataset: ImageDataset, shown: Sequence[int], seed: int
) -> tuple[list[Scene], list[Score]]:
    parts = len(KINDS) * len(SEVERITIES)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        rendering = bar.add_task("rendering", total=parts)
        measuring = bar.add_task("measuring accuracy", total=parts + 1)
        drawn = []
        for scene in scenes(cnnf, cnn, dataset, shown, seed):
            drawn.append(scene)
            bar.advance(rendering)
        rows = []
        for row in scores(cnnf, cnn, dataset, seed):
            rows.append(row)
            bar.advance(measuring)
    return drawn, rows


@contextmanager
def _workspace(out: Path) -> Iterator[Path]:
    """A new folder beside `out` that takes its place at the end, unless something went wrong."""
    _check_replaceable(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
            fresh = Path(temporary, "new")
            fresh.mkdir()
            yield fresh
            # Checked again: something may have been put there meanwhile.
            _check_replaceable(out)
            if out.exists():
                out.rename(Path(temporary, "old"))
            fresh.rename(out)
    except OSError as error:
        raise DemoError(f"{out} cannot be written: {error}") from error


def _check_replaceable(out: Path) -> None:
    """Refuse a place with anything that the demo did not write."""
    if not out.exists():
        return
    if not out.is_dir():
        raise DemoError(f"{out} is not a folder; choose another with --out")
    page = out / PAGE
    names = {PAGE, *(f"{kind}-{severity}.png" for kind in KINDS for severity in SEVERITIES)}
    found = {path.name for path in out.iterdir()}
    others = sorted(found - names)
    if found and (others or not page.is_file() or MARKER not in page.read_text("utf-8", "replace")):
        what = f"holds {', '.join(others[:3])}" if others else "has files, but no page of a demo"
        raise DemoError(f"{out} {what}: it is not overwritten; choose another folder with --out")


def _report(result: DemoResult, console: Console) -> None:
    console.print(_table(result.scores))
    console.print(f"{len(result.sheets)} sheets and a page in {result.seconds:.0f} s:")
    # A path is printed as it is: never wrapped, coloured or taken for markup.
    console.print(str(result.index), soft_wrap=True, markup=False, highlight=False)


def _table(rows: Sequence[Score]) -> Table:
    table = Table(title=f"Accuracy on {rows[0].n:,} test images, percent ± standard error")
    table.add_column("images")
    for title in ("plain CNN", "CNN-F", "difference"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("")
    for row in rows:
        table.add_row(
            row.condition,
            in_percent(row.cnn, row.n),
            in_percent(row.cnnf, row.n),
            row.difference,
            row.verdict,
        )
    return table
