"""Run the demo: a section for each system of the zoo; write a folder, print the tables."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rich.table
from rich.console import Console

from zoo.demo.controls import section as controls
from zoo.demo.feedback import section as feedback
from zoo.demo.flows import section as flow
from zoo.demo.folder import PAGE, workspace
from zoo.demo.page import write_page
from zoo.demo.players import section as players
from zoo.demo.renderings import section as renderings
from zoo.demo.section import Section, Table
from zoo.demo.series import section as series
from zoo.demo.turbulence import section as turbulence
from zoo.models.cnf import CNF
from zoo.models.dgm import DGM
from zoo.models.disentangled_style_gan import DisentangledStyleGAN
from zoo.models.fine_style_gan import FineStyleGAN
from zoo.models.latent_ode import LatentODE
from zoo.models.turbulence import TurbulenceForecaster

__all__ = ["DemoResult", "run"]

FILES = frozenset().union(
    feedback.FILES,
    players.FILES,
    flow.FILES,
    series.FILES,
    turbulence.FILES,
    controls.FILES,
    renderings.FILES,
)
"""All that a demo may have beside its page."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo wrote and measured."""

    folder: Path
    index: Path
    pictures: tuple[Path, ...]
    feedback: feedback.Measured
    players: players.Measured
    flows: flow.Measured
    series: series.Measured
    turbulence: turbulence.Measured
    controls: controls.Measured
    renderings: renderings.Measured
    seconds: float


def run(
    out: str | Path = "zoo-demo",
    *,
    images: int = 8,
    seed: int = 0,
    sample: int = 300,
    attacked: int = 50,
    kinds: Sequence[str] = feedback.KINDS,
    models: Mapping[str, Any] | None = None,
    generated: int = 1000,
    generators: Mapping[str, Any] | None = None,
    points: int = 3000,
    flows: Mapping[str, CNF] | None = None,
    spirals: int = 100,
    forecaster: LatentODE | None = None,
    grid: int = 40,
    decays: TurbulenceForecaster | None = None,
    scenes: int = 8,
    control: DisentangledStyleGAN | None = None,
    editor: FineStyleGAN | None = None,
    rendered: int = 6,
    renderer: DGM | None = None,
    console: Console | None = None,
) -> DemoResult:
    """Show what the systems of the zoo do, each beside a baseline; CPU, no network.

    Writes PNG pictures and `index.html`, which needs no other file, and prints what was measured.
    The folder appears when all is done; a demo that is there is replaced.

    Args:
        out: Folder to write.
        images: Number of images on show, drawn by `seed`.
        seed: Chooses the images, the random part of their corruption, the start of attacks and the
            latent vectors of generators, the noise and the points of flows, the samples of
            forecasts, the turbulent flow, the noise of controllable models, and what is swapped
            where images are rendered.
        sample: Number of bundled test images, from the first on, that are used and scored.
        attacked: Number of them, from the first on, that are attacked, at most all; 0 leaves the
            attacks out.
        kinds: Kinds of corruption, keys of `zoo.data.CORRUPTIONS`.
        models: Networks to show and to attack instead of the pretrained ones, as "cnnf" and "cnn".
        generated: Number of samples of each generator that are scored, at least 2; 0 leaves them
            out.
        generators: Generators to show instead of the pretrained ones, by name: anything that
            `zoo.metrics.generation.score` takes, for colour images of 32 × 32.
        points: Number of fresh points that each flow is measured on, at least 2; 0 leaves the
            flows out.
        flows: Flows to show instead of the pretrained ones, by the names of their densities, which
            are those of `zoo.data.densities`.
        spirals: Number of unseen spirals that are forecast and scored, at least 2; 0 leaves the
            forecasts out.
        forecaster: A latent ODE to show instead of the pretrained one.
        grid: Points a side of the turbulent flow that is simulated, even and at least 12; 0 leaves
            turbulence out.
        decays: A forecaster of turbulence to show instead of the pretrained one.
        scenes: Number of rendered scenes beside those that a controllable model draws, at most 16;
            0 leaves the controls out.
        control: A model that draws scenes to show instead of the pretrained one.
        editor: A model that edits scenes to show instead of the pretrained one.
        rendered: Number of images on show with their latents and renderings, at most 10; 0 leaves
            the renderings out.
        renderer: A deconvolutional generative model of 28 × 28 grey images to show instead of the
            pretrained one.
        console: Where to print; default the standard output.

    Raises:
        DemoError: `out` holds something else than a demo, or a setting is out of range.
        WeightsError: pretrained weights are missing or damaged. Only those of
            CNN-F and its twin must be there: another part without weights is left out, and a line
            says so.
        DataError: the bundled images, or statistics of images, are damaged.
    """
    began = time.monotonic()
    out, console = Path(out).expanduser().resolve(), console or Console()
    feedback.check_settings(images, sample, attacked, kinds)
    players.check_settings(generated)
    flow.check_settings(points)
    series.check_settings(spirals)
    turbulence.check_settings(grid)
    controls.check_settings(scenes)
    renderings.check_settings(rendered)
    with workspace(out, FILES) as folder:
        first, looked = feedback.show(
            images=images, seed=seed, sample=sample, attacked=attacked, kinds=kinds, models=models
        )
        second, played = players.show(generated=generated, seed=seed, generators=generators)
        third, flown = flow.show(points=points, seed=seed, flows=flows)
        fourth, forecast = series.show(spirals=spirals, seed=seed, forecaster=forecaster)
        fifth, decayed = turbulence.show(grid=grid, seed=seed, decays=decays)
        sixth, controlled = controls.show(scenes=scenes, seed=seed, control=control, editor=editor)
        seventh, drawn = renderings.show(rendered=rendered, seed=seed, renderer=renderer)
        sections = [first, second, third, fourth, fifth, sixth, seventh]
        names = _write(folder, sections)
    result = DemoResult(
        folder=out,
        index=out / PAGE,
        pictures=tuple(out / name for name in names),
        feedback=looked,
        players=played,
        flows=flown,
        series=forecast,
        turbulence=decayed,
        controls=controlled,
        renderings=drawn,
        seconds=time.monotonic() - began,
    )
    _report(result, sections, console)
    return result


def _write(folder: Path, sections: Sequence[Section]) -> list[str]:
    """Write pictures and page; returns the names of the pictures."""
    pictures = {name: png for section in sections for name, png in section.pictures.items()}
    for name, png in pictures.items():
        (folder / name).write_bytes(png)
    (folder / PAGE).write_text(write_page(sections), encoding="utf-8")
    return list(pictures)


def _report(result: DemoResult, sections: Sequence[Section], console: Console) -> None:
    for section in sections:
        for content in section.tables:
            console.print(_table(content))
        for note in section.notes:
            console.print(note, highlight=False)
    console.print(f"{len(result.pictures)} pictures and a page in {result.seconds:.0f} s:")
    # A path is printed as it is: never wrapped, coloured or taken for markup.
    console.print(str(result.index), soft_wrap=True, markup=False, highlight=False)


def _table(content: Table) -> rich.table.Table:
    table = rich.table.Table(title=content.title)
    first, *others = content.columns
    table.add_column(first)
    for title in others:
        table.add_column(title, justify="right" if title else "left", no_wrap=bool(title))
    for row in content.rows:
        table.add_row(*row)
    return table
