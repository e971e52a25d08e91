"""Pictures of turbulence for the model card: forecasts, small scales, validation, vorticity.

    python -m zoo.training.turbulence_pictures --out DIR [PICTURE ...] [--reference FILE]

PICTURE is one or more of `forecast`, `spectra`, `taylor-green` and `vorticity`, default all; each
becomes DIR/PICTURE.png. `forecast` is of `--model`, a forecaster of the zoo or
`local-dir:RUN/card`, and `spectra` of the runs of the ensemble that comes with the package (`--data
FILE` for another); the others simulate, some minutes of a CPU core. `--reference` names
`spectral_Re1600_512.gdiag` of the International Workshop on High-Order CFD Methods, case C3.5,
which may not come with the package; without it its curve is missing.

The recipe draws `error.png`, the errors of all its models over time.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo.data import decaying_turbulence
from zoo.data.decaying_turbulence import Problem, Run
from zoo.demo.curves import LIGHT, Theme, add_legend, to_png
from zoo.demo.series.picture import style
from zoo.demo.turbulence.measure import CARD, LEARNT, closures, follow, of_every_kind
from zoo.demo.turbulence.picture import draw_forecasts, draw_vorticity, line_of
from zoo.demo.turbulence.simulation import slice_of_vorticity
from zoo.errors import DataError, ZooError
from zoo.metrics.turbulence import QUANTITIES, Forecaster, forecast, relative_errors
from zoo.metrics.turbulence_table import Column
from zoo.models.turbulence import TurbulenceForecaster
from zoo.simulations.navier_stokes import NavierStokes
from zoo.training.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PICTURES", "draw_errors", "draw_spectra", "draw_taylor_green", "main"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of Okabe and Ito: they differ for every kind of colour vision."""

LEAST = 0.1
"""Errors below so many percent are not shown."""
FITTED_AT = (" at the peak", " self-similar")
"""Ends of the names of closures that are fitted to windows that begin there only."""

SPECTRA = {"k4": "k⁴", "k2": "k²"}
WRAY = (
    (0.02, 313.0),
    (0.05, 124.0),
    (0.1, 67.9),
    (0.2, 27.5),
    (0.3, 11.2),
    (0.5, 2.01),
    (0.7, 0.436),
    (1.0, 0.0552),
    (1.3, 0.00815),
    (1.5, 0.00262),
)
"""κη and E/(εν⁵)^¼ of the 512³ run of A. A. Wray (`zoo.data.wray_decay`) at t = 4.55, where its
Re_λ is 60 and kmax η 1.7, interpolated in logarithms."""
BRACHET = (4.9, 0.01298)
"""Time and height of the peak of the dissipation of the Taylor-Green vortex at Re = 100 (Brachet et
al., J. Fluid Mech. 130 (1983) 411-452), as digitised in the tests of PsDNS of Los Alamos."""


def draw_errors(
    models: Mapping[str, Forecaster], asked: Mapping[Column, Problem], theme: Theme = LIGHT
) -> "Figure":
    """Mean relative error over the runs against time, a column for each thing that was asked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.9 * len(asked), 5.0), facecolor=theme.paper, layout="constrained")
    panels = figure.subplots(len(QUANTITIES), len(asked), squeeze=False, sharex="col")
    for (column, problem), pair in zip(asked.items(), panels.T, strict=True):
        turnover = problem.state["epsilon"] / problem.state["k"]
        tau = (problem.times * turnover.unsqueeze(1))[0, 1:]
        for panel, quantity in zip(pair, QUANTITIES, strict=True):
            style(panel, theme)
            truth = getattr(problem, quantity)
            chosen = fitted_there(models, column.protocol)
            for index, (name, model) in enumerate(chosen.items()):
                errors = relative_errors(forecast(model, problem)[quantity], truth).mean(0)
                panel.plot(tau, 100 * errors, linewidth=1.4, **_line(name, index, theme))
            panel.set_yscale("log")
            panel.set_ylim(bottom=LEAST)
        pair[0].set_title(column.title, loc="left", color=theme.ink, fontsize=9)
        pair[-1].set_xlabel("time in k₀/ε₀", color=theme.soft)
    for panel, what in zip(panels[:, 0], ("dissipation", "energy"), strict=True):
        panel.set_ylabel(f"error of the {what}, %", color=theme.soft)
    add_legend(figure, panels[0, 0], theme)
    return figure


def fitted_there(models: Mapping[str, Forecaster], protocol: str) -> dict[str, Forecaster]:
    """The models, of closures fitted several times only those fitted to what a protocol asks.

    Elsewhere than in the self-similar stage, those fitted at the peak.
    """
    own, other = FITTED_AT if protocol != "similar" else reversed(FITTED_AT)
    special = {name.removesuffix(own) for name in models if name.endswith(own)}
    return {
        name.removesuffix(own) + (" there" if name.endswith(own) else ""): model
        for name, model in models.items()
        if name not in special and not name.endswith(other)
    }


def draw_spectra(runs: Sequence[Run], theme: Theme = LIGHT) -> "Figure":
    """Energy spectra at the peak of the dissipation in Kolmogorov units, beside the 512³ run.

    Left E/(εν⁵)^¼, right multiplied by (κη)^(5/3). A line is the mean over the runs of a condition.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.8), facecolor=theme.paper, layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    groups: dict[tuple[float, str, int], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.viscosity, run.spectrum, run.points), []).append(run)
    for index, ((viscosity, spectrum, _), group) in enumerate(sorted(groups.items())):
        label = f"viscosity {viscosity:g}, {SPECTRA[spectrum]}"
        scaled = torch.stack([_kolmogorov(run) for run in group]).mean(0)
        line = {"color": COLOURS[index % len(COLOURS)], "linewidth": 1.3, "label": label}
        left.plot(*scaled, **line)
        right.plot(scaled[0], scaled[1] * scaled[0] ** (5 / 3), **line)
    eta, energy = np.array(WRAY).T
    dots = {"color": theme.ink, "markersize": 4, "label": "512³, Re$_λ$ 60 (Wray 1997)"}
    left.plot(eta, energy, "o", **dots)
    right.plot(eta, energy * eta ** (5 / 3), "o", **dots)
    for panel, title in ((left, "E/(εν⁵)$^{1/4}$"), (right, "(κη)$^{5/3}$ E/(εν⁵)$^{1/4}$")):
        style(panel, theme)
        panel.set_xscale("log")
        panel.set_title(title, loc="left", color=theme.ink, fontsize=10)
        panel.set_xlabel("κη", color=theme.soft)
    left.set_yscale("log")
    left.legend(frameon=False, labelcolor=theme.ink, fontsize=8)
    return figure


@dataclass(frozen=True)
class Decay:
    """Dissipation of a Taylor-Green vortex over time, of a grid of so many points a side."""

    points: int
    time: Tensor
    dissipation: Tensor


def taylor_green(points: int, reynolds: float, until: float) -> Decay:
    """Simulate it in single precision: u = sin x cos y cos z, v = -cos x sin y cos z."""
    flow = NavierStokes(points=points, viscosity=1 / reynolds, dtype=torch.float32)
    found = [
        (state.time, state.statistics.dissipation.item())
        # Under-resolved grids are to be seen as such.
        for state in flow.run(
            flow.taylor_green(), until=until, cfl=0.9, every=until / 100, resolution=0.0
        )
    ]
    time, dissipation = torch.tensor(found, dtype=torch.float64).T
    return Decay(points, time, dissipation)


def read_reference(path: Path) -> Tensor:
    """Time and dissipation 2νZ of the 512³ run at Re = 1600, (2, T).

    Raises:
        DataError: the file cannot be read or has another layout.
    """
    try:
        table = np.loadtxt(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if table.ndim != 2 or table.shape[1] != 4:
        raise DataError(f"{path}: expected 4 columns t, K, -dK/dt, Z, found shape {table.shape}")
    return torch.from_numpy(np.stack([table[:, 0], table[:, 3] / 800]))


def draw_taylor_green(
    slow: Sequence[Decay], fast: Sequence[Decay], reference: Tensor | None, theme: Theme = LIGHT
) -> "Figure":
    """Dissipation of Taylor-Green vortices at Re = 100 (`slow`) and 1600 (`fast`).

    Args:
        reference: time and dissipation at Re = 1600, (2, T).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.8), facecolor=theme.paper, layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, curves, reynolds in zip(panels, (slow, fast), (100, 1600), strict=True):
        style(panel, theme)
        for index, curve in enumerate(curves):
            line = {"color": COLOURS[index], "linewidth": 1.4, "label": f"{curve.points}³"}
            panel.plot(curve.time, curve.dissipation, **line)
        panel.set_title(f"Re = {reynolds}", loc="left", color=theme.ink, fontsize=10)
        panel.set_xlabel("time", color=theme.soft)
    panels[0].plot(*BRACHET, "o", color=theme.ink, markersize=5, label="peak, Brachet et al. 1983")
    if reference is not None:
        end = max(float(curve.time[-1]) for curve in fast)
        shown = reference[:, reference[0] <= end]
        line = {"color": theme.ink, "linewidth": 1.4, "linestyle": (0, (3, 2))}
        panels[1].plot(*shown, label="512³, HiOCFD case C3.5", **line)
    panels[0].set_ylabel("dissipation ε", color=theme.soft)
    for panel in panels:
        panel.set_ylim(bottom=0)
        panel.legend(frameon=False, labelcolor=theme.ink, fontsize=8)
    return figure


def _line(name: str, index: int, theme: Theme) -> dict[str, Any]:
    """That of the forecasts' picture; other models than those there have further colours."""
    line = line_of(name, theme)
    if line["color"] == theme.soft and line["linestyle"] == "solid":
        line["color"] = COLOURS[2 + index % 4]
    return line


def _kolmogorov(run: Run) -> Tensor:
    """κη and E/(εν⁵)^¼ of the shells that the run resolves, κ from 1 to N/3, (2, shells)."""
    epsilon, nu = float(run.dissipation[run.peak]), run.viscosity
    shells = torch.arange(1, min(len(run.spectrum_peak), (run.points - 1) // 3 + 1))
    eta = (nu**3 / epsilon) ** 0.25
    return torch.stack(
        [shells * eta, run.spectrum_peak[shells].double() / (epsilon * nu**5) ** 0.25]
    )


def _draw_forecast(options: argparse.Namespace) -> bytes:
    from zoo.factory import create

    model = create(options.model, pretrained=True)
    if not isinstance(model, TurbulenceForecaster):
        raise ZooError(f"{options.model!r} forecasts no turbulence: a {type(model).__name__}")
    return to_png(draw_forecasts(follow({**closures(), LEARNT: model}, of_every_kind())))


def _draw_spectra(options: argparse.Namespace) -> bytes:
    return to_png(draw_spectra(decaying_turbulence.load(path=options.data)))


def _draw_taylor_green(options: argparse.Namespace) -> bytes:
    reference = read_reference(options.reference) if options.reference else None
    slow = [taylor_green(points, 100, 10.0) for points in (24, 32)]
    fast = [taylor_green(points, 1600, 10.0) for points in (32, 64, 96)]
    return to_png(draw_taylor_green(slow, fast, reference))


def _draw_vorticity(options: argparse.Namespace) -> bytes:
    from matplotlib.figure import Figure

    flow = NavierStokes(points=options.points, viscosity=0.015, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    start = flow.random_isotropic(
        peak_wavenumber=3.0, rms_velocity=1.0, batch=1, generator=generator
    )
    *_, last = flow.run(start, until=2.0, cfl=0.6, every=0.5, resolution=0.5)
    figure = Figure(figsize=(4.2, 4.2), layout="tight")
    draw_vorticity(figure.subplots(), slice_of_vorticity(flow, last.velocity), LIGHT)
    return to_png(figure, 256)


PICTURES: Mapping[str, Callable[[argparse.Namespace], bytes]] = {
    "forecast": _draw_forecast,
    "spectra": _draw_spectra,
    "taylor-green": _draw_taylor_green,
    "vorticity": _draw_vorticity,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the pictures and print where they are; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.training.turbulence_pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pictures", nargs="*", metavar="PICTURE", help=", ".join(PICTURES))
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--model", default=CARD, metavar="NAME", help="of the forecasts")
    parser.add_argument("--data", type=Path, metavar="FILE", help="ensemble of the spectra")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="Taylor-Green, Re = 1600")
    parser.add_argument(
        "--points", type=int, default=64, metavar="N", help="a side, of the flow of vorticity.png"
    )
    options = parser.parse_args(argv)
    if unknown := [name for name in options.pictures if name not in PICTURES]:
        parser.error(f"no picture {unknown[0]!r}; there are {', '.join(PICTURES)}")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for name in options.pictures or PICTURES:
            path = options.out / f"{name}.png"
            write_atomically(path, PICTURES[name](options))
            print(path, flush=True)
    except (ZooError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
