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

from zoo.data import CORRUPTIONS
from zoo.data.fashion_mnist import fashion_mnist_sample
from zoo.data.images import ImageDataset
from zoo.demo import curves
from zoo.demo.measure import (
    EPSILONS,
    SEVERITIES,
    Attack,
    Comparison,
    Scene,
    Score,
    attack,
    choose,
    in_percent,
    observe,
)
from zoo.demo.networks import ADVERSARIAL, RESTORING, Pair, pretrained
from zoo.demo.page import MARKER, Findings, write_page
from zoo.demo.sheet import draw_sheet
from zoo.errors import ZooError

__all__ = [
    "KINDS",
    "DemoError",
    "DemoResult",
    "Measured",
    "check_settings",
    "draw_curves",
    "measure",
    "run",
    "write_curves",
]

PAGE = "index.html"
CURVES = ("severity", "errors", "epsilon")
KINDS = ("noise", "blur", "occlusion")
"""Kinds of corruption that are shown unless others are asked for."""
SHEET_SEVERITIES = (3, 4, 5)
SHEET_IMAGES = 4
"""At most so many of the images on show stand on a sheet for each severity."""


class DemoError(ZooError, ValueError):
    """The demo cannot be written where it should be, or has been given a wrong setting."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo wrote and measured."""

    folder: Path
    index: Path
    sheets: tuple[Path, ...]
    curves: tuple[Path, ...]
    scores: tuple[Score, ...]
    attacks: tuple[Attack, ...]
    seconds: float


@dataclass(frozen=True)
class Measured:
    """Scores of every condition, clean first; the images on show in the others; attacks."""

    scores: tuple[Score, ...]
    scenes: tuple[Scene, ...]
    attacks: tuple[Attack, ...]


def run(
    out: str | Path = "zoo-demo",
    *,
    images: int = 8,
    seed: int = 0,
    sample: int = 300,
    attacked: int = 50,
    kinds: Sequence[str] = KINDS,
    models: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> DemoResult:
    """Show what the feedback of CNN-F does to corrupted images and attacks; CPU, no network.

    Writes a PNG sheet for every kind of corruption, the curves, and `index.html`, which needs no
    other file, and prints the accuracies. The folder appears when all is done; a demo that is there
    is replaced.

    Args:
        out: Folder to write.
        images: Number of images on show, drawn by `seed`.
        seed: Chooses the images, the random part of their corruption and the start of attacks.
        sample: Number of bundled test images, from the first on, that are used and scored.
        attacked: Number of them, from the first on, that are attacked, at most all; 0 leaves the
            attacks out.
        kinds: Kinds of corruption, keys of `zoo.data.CORRUPTIONS`.
        models: Networks to show and to attack instead of the pretrained ones, as "cnnf" and "cnn".
        console: Where to print; default the standard output.

    Raises:
        DemoError: `out` holds something else than a demo, or a setting is out of range.
        WeightsError: the pretrained weights are missing or damaged.
        DataError: the bundled images are damaged.
    """
    began = time.monotonic()
    out, console = Path(out).expanduser().resolve(), console or Console()
    dataset = fashion_mnist_sample()
    check_settings(len(dataset), images, sample, attacked, kinds)
    dataset, attacked = dataset.head(sample), min(attacked, sample)
    with _workspace(out) as folder:
        pair = Pair.given(models) if models is not None else pretrained(RESTORING)
        foe = pair if models is not None else pretrained(ADVERSARIAL)
        shown = choose(dataset, images, seed)
        measured = measure(pair, foe, dataset, shown, kinds, attacked, seed)
        sheets = _draw_sheets(folder, measured, dataset.classes)
        light, dark = (draw_curves(measured, theme) for theme in (curves.LIGHT, curves.DARK))
        drawn = write_curves(folder, light)
        origin = (
            f"{_capital(pair.names)}; the first {sample:,} test images of Fashion-MNIST; seed "
            f"{seed}. The images on show are drawn at random, not picked."
        )
        page = write_page(
            Findings(
                measured.scenes,
                measured.scores,
                measured.attacks,
                light,
                dark,
                dataset.classes,
                origin,
                f"{_capital(foe.names)}; the first {attacked:,} test images of Fashion-MNIST.",
            )
        )
        (folder / PAGE).write_text(page, encoding="utf-8")
    result = DemoResult(
        folder=out,
        index=out / PAGE,
        sheets=tuple(out / path.name for path in sheets),
        curves=tuple(out / path.name for path in drawn),
        scores=measured.scores,
        attacks=measured.attacks,
        seconds=time.monotonic() - began,
    )
    _report(result, console)
    return result


def check_settings(
    available: int, images: int, sample: int, attacked: int, kinds: Sequence[str]
) -> None:
    """Refuse numbers out of range, and kinds of corruption that do not exist.

    Raises:
        DemoError: a setting is out of range.
    """
    numbers = (
        ("sample", sample, 1, available),
        ("images", images, 1, sample),
        ("attacked", attacked, 0, available),
    )
    for name, value, least, most in numbers:
        if not least <= value <= most:
            raise DemoError(f"{name} must be {least} to {most}, found {value}")
    unknown = [kind for kind in kinds if kind not in CORRUPTIONS]
    if unknown or not kinds or len(set(kinds)) < len(kinds):
        raise DemoError(
            f"kinds must be some of {', '.join(CORRUPTIONS)}, each once; found "
            f"{', '.join(kinds) or 'none'}"
        )


def measure(
    pair: Pair,
    foe: Pair,
    dataset: ImageDataset,
    shown: Sequence[int],
    kinds: Sequence[str],
    attacked: int,
    seed: int,
) -> Measured:
    """Corrupt and score the whole data set with `pair`, attack its head with `foe`."""
    scores, scenes, attacks = [], [], []
    with Progress(console=Console(stderr=True), transient=True) as bar:
        corrupting = bar.add_task("corruptions", total=1 + len(kinds) * len(SEVERITIES))
        attacking = bar.add_task("attacks", total=len(EPSILONS)) if attacked else None
        for scene in observe(pair, dataset, kinds, seed):
            scores.append(scene.score())
            if scene.severity:
                scenes.append(scene.take(shown))
            bar.advance(corrupting)
        if attacking is not None:
            for row in attack(foe, dataset.head(attacked), seed):
                attacks.append(row)
                bar.advance(attacking)
    return Measured(tuple(scores), tuple(scenes), tuple(attacks))


def draw_curves(measured: Measured, theme: curves.Theme = curves.LIGHT) -> dict[str, bytes]:
    """The curves as PNG; without attacks there is no curve of them."""
    severity, errors, epsilon = CURVES
    figures = {
        severity: curves.draw_severity(measured.scores, theme),
        errors: curves.draw_errors(measured.scores, theme),
    }
    if measured.attacks:
        figures[epsilon] = curves.draw_epsilon(measured.attacks, theme)
    return {name: curves.to_png(figure) for name, figure in figures.items()}


def write_curves(folder: Path, drawn: Mapping[str, bytes]) -> list[Path]:
    """Write what `draw_curves` returns into the folder."""
    paths = [folder / f"{name}.png" for name in drawn]
    for path, content in zip(paths, drawn.values(), strict=True):
        path.write_bytes(content)
    return paths


def _draw_sheets(folder: Path, measured: Measured, classes: Sequence[str]) -> list[Path]:
    """Write a sheet for each kind."""
    # The clean score has no scene.
    pairs = list(zip(measured.scenes, measured.scores[1:], strict=True))
    paths = []
    for kind in dict.fromkeys(scene.kind for scene in measured.scenes):
        drawn = [p for p in pairs if p[0].kind == kind and p[0].severity in SHEET_SEVERITIES]
        few = range(min(SHEET_IMAGES, len(drawn[0][0].labels)))
        sheet = draw_sheet(
            [scene.take(few) for scene, _ in drawn], [score for _, score in drawn], classes
        )
        paths.append(folder / f"{kind}.png")
        sheet.save(paths[-1], optimize=True)
    return paths


def _capital(text: str) -> str:
    """A sentence begins with a capital, but the name of a model is written as it is."""
    return text if "." in text.split()[0] else f"{text[0].upper()}{text[1:]}"


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
    names = {PAGE, *(f"{name}.png" for name in (*CURVES, *CORRUPTIONS))}
    found = {path.name for path in out.iterdir()}
    others = sorted(found - names)
    if found and (others or not page.is_file() or MARKER not in page.read_text("utf-8", "replace")):
        what = f"holds {', '.join(others[:3])}" if others else "has files, but no page of a demo"
        raise DemoError(f"{out} {what}: it is not overwritten; choose another folder with --out")


def _report(result: DemoResult, console: Console) -> None:
    n = result.scores[0].accuracy.n
    title = f"Accuracy on {n:,} test images, percent ± standard error"
    console.print(_table(title, "images", [(row.condition, row.accuracy) for row in result.scores]))
    if result.attacks:
        title = f"Accuracy under PGD on {result.attacks[0].accuracy.n:,} test images"
        rows = [(f"epsilon {row.epsilon:g}", row.accuracy) for row in result.attacks]
        console.print(_table(title, "attack", rows))
    count = len(result.sheets) + len(result.curves)
    console.print(f"{count} pictures and a page in {result.seconds:.0f} s:")
    # A path is printed as it is: never wrapped, coloured or taken for markup.
    console.print(str(result.index), soft_wrap=True, markup=False, highlight=False)


def _table(title: str, first: str, rows: Sequence[tuple[str, Comparison]]) -> Table:
    table = Table(title=title)
    table.add_column(first)
    for column in ("plain CNN", "CNN-F", "difference"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for name, row in rows:
        cells = (in_percent(row.cnn, row.n), in_percent(row.cnnf, row.n))
        table.add_row(name, *cells, row.difference, row.verdict)
    return table
