"""The direct numerical simulation against published numbers: prints a table in Markdown.

    python tests/validation/turbulence.py [--reference DIR] [--parts NAME ...] [--points 256]

Without options everything that needs no further file: regressions, series, balances, invariance and
the Taylor-Green vortex at Re = 100, in half a minute on one core. `--reference` is a folder with

    spectral_Re1600_512.gdiag   Taylor-Green at Re = 1600, 512³ points: the reference of case C3.5
                                of the International Workshop on High-Order CFD Methods (van Rees
                                et al., J. Comput. Phys. 230, 2011)
    decaying-512/CB512.f_t, .es decaying isotropic turbulence, 512³ points, A. A. Wray (1997), AGARD
                                database, case HOM02

which may not come with the project; some minutes more. `--points 256 --device cuda` adds the whole
curve at Re = 1600, up to t = 20, on so many points. The exit code is 1 if a row is out of
tolerance.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.interpolate import CubicSpline

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.simulations.balances import balance_errors, order_in_time
from tests.simulations.fields import developed
from zoo.simulations.navier_stokes import NavierStokes
from zoo.simulations.statistics import FlowStatistics, spectral_moments

BRACHET = Path(__file__).with_name("brachet_re100.txt")
SHA256 = {
    "spectral_Re1600_512.gdiag": "8e01c0024ae2dde20df8dc77a20fa7fb41c3abef2fc528a2ac684afed96d6429",
    "decaying-512/CB512.f_t": "a43268533cb3181e4f5e2e39564421b01117cc641e4cb89032fdb91f71c4adce",
    "decaying-512/CB512.es": "1bdcd02637caf646cbbdea07c59d65c2477651abfd5f2249383147c67cc51210",
}


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    check: str
    reference: str
    ours: str
    tolerance: str
    ok: bool

    def __str__(self) -> str:
        ok = "yes" if self.ok else "**no**"
        return f"| {self.check} | {self.reference} | {self.ours} | {self.tolerance} | {ok} |"


def near(check: str, ours: float, reference: float, tolerance: float, digits: int) -> Row:
    """A value within an absolute tolerance."""
    return Row(
        check,
        f"{reference:.{digits}f}",
        f"{ours:.{digits}f} ({ours - reference:+.1e})",
        f"{tolerance:.0e}",
        abs(ours - reference) <= tolerance,
    )


def percent(check: str, ours: float, reference: float, tolerance: float) -> Row:
    """A value within a tolerance in per cent."""
    off = 100 * (ours / reference - 1)
    return Row(
        check,
        f"{reference:.7f}",
        f"{ours:.7f} ({off:+.4f} %)",
        f"{tolerance:g} %",
        abs(off) <= tolerance,
    )


def below(check: str, ours: float, bound: float, unit: str = "") -> Row:
    """An error, of which 0 would be right."""
    return Row(check, "0", f"{ours:.2g}{unit}", f"{bound:g}{unit}", abs(ours) <= bound)


Curve = dict[float, FlowStatistics]
"""Time, rounded, -> statistics."""


def taylor_green(
    points: int, viscosity: float, until: float, device: str = "cpu", **kwargs: object
) -> Curve:
    """The vortex from t = 0 on; in double precision if small."""
    dtype = torch.float64 if points < 64 else torch.float32
    flow = NavierStokes(points=points, viscosity=viscosity, dtype=dtype, device=device)
    found = {}
    for state in flow.run(flow.taylor_green(), until=until, resolution=0, **kwargs):
        found[round(state.time, 6)] = state.statistics
        print(f"\r{points}³, t = {state.time:.2f} of {until:g} ", end="", file=sys.stderr)
    print(file=sys.stderr)
    return found


def regression() -> Iterator[Row]:
    s = taylor_green(32, 6.25e-4, 0.1, dt=0.01)[0.1]
    title = "Taylor-Green 32³, nu = 6.25e-4, 10 steps of .01, spectralDNS: "
    yield near(title + "k", s.kinetic_energy.item(), 0.124953117517, 1e-11, 12)
    yield near(title + "Z", s.enstrophy.item(), 0.375249930801, 1e-8, 12)
    s = taylor_green(32, 0.01, 0.05, dt=0.005)[0.05]
    title = "Taylor-Green 32³, nu = .01, 10 steps of .005, fluidsim and exponax: "
    yield near(title + "k", s.kinetic_energy.item(), 0.1246255295769056, 1e-14, 16)


def series(t: float, r: float) -> float:
    """Z(t)/Z(0) of the vortex at Reynolds number r. (Taylor and Green, 1937.)"""
    return (
        1
        - 6 * t / r
        + (5 / 48 + 18 / r**2) * t**2
        - (5 / 3 + 36 / r**2) * t**3 / r
        + (50 / (99 * 64) + 1835 / (9 * 16 * r**2) + 54 / r**4) * t**4
    )


def short_times() -> Iterator[Row]:
    for r, tolerance in ((math.inf, 1e-9), (100.0, 3e-8)):
        z = taylor_green(16, 1 / r, 0.1, dt=0.01)[0.1].enstrophy.item() / 0.375
        yield near(f"Z/Z0 at t = .1, R = {r:g}, series of 1937", z, series(0.1, r), tolerance, 11)


def balances() -> Iterator[Row]:
    energy, enstrophy, kmax_eta = balance_errors(48, 0.01)
    title = f"48³, kmax η = {kmax_eta:.2f}: "
    yield below(title + "dk/dt + ε, of ε", energy, 1e-6)
    yield below(title + "dZ/dt - production + 2 nu P, of 2 nu P", enstrophy, 1e-5)
    _, aliased, _ = balance_errors(24, 0.02, dealias=False)
    yield Row(
        "the same without de-aliasing (must fail)", "0", f"{aliased:.2g}", "> 0.01", aliased > 1e-2
    )
    slope = order_in_time()
    yield Row("order in dt", "4", f"{slope:.3f}", "0.1", abs(slope - 4) <= 0.1)


def invariance() -> Iterator[Row]:
    flow, u = developed(24, 0.02)
    velocity = flow.physical(u)
    yield below(
        "largest div u after 0.5 time units, of the largest ω, 24³",
        _ratio(flow.divergence(u), flow.vorticity(u)),
        1e-13,
    )
    sign = torch.tensor([-1.0, 1, 1], dtype=velocity.dtype).view(3, 1, 1, 1)
    changes: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "permuted axes": lambda v: v[:, [1, 2, 0]].permute(0, 1, 3, 4, 2),
        "reflection": lambda v: v.flip(2).roll(1, 2) * sign,
        "shift": lambda v: v.roll((1, 5, 11), (2, 3, 4)),
    }

    def evolved(v: torch.Tensor) -> torch.Tensor:
        *_, last = flow.run(flow.spectral(v), until=0.1, dt=0.02, resolution=0)
        return flow.physical(last.velocity)

    expected = evolved(velocity)
    for name, change in changes.items():
        off = evolved(change(velocity)) - change(expected)
        yield below(
            f"{name}, 5 steps: largest difference, of the largest u", _ratio(off, expected), 1e-13
        )


def _ratio(small: torch.Tensor, scale: torch.Tensor) -> float:
    return float(small.abs().max() / scale.abs().max())


def skewness() -> Iterator[Row]:
    flow = NavierStokes(points=48, viscosity=0.015, dtype=torch.float32)
    u = flow.random_isotropic(3.0, 1.0, generator=torch.Generator().manual_seed(0))
    turnover = flow.statistics(u).integral_scale.item()
    *_, last = flow.run(u, until=turnover, cfl=0.6, resolution=0)
    value = last.statistics.skewness.item()
    name = "skewness of the velocity derivative after one turnover, 48³"
    yield Row(name, "-0.5", f"{value:.3f}", "-0.6 ... -0.35", -0.6 <= value <= -0.35)


def reynolds_100() -> Iterator[Row]:
    found = taylor_green(48, 0.01, 10.0, every=0.1, cfl=0.5)
    t = np.array(list(found))
    epsilon = np.array([s.dissipation.item() for s in found.values()])
    curve = CubicSpline(t, epsilon)
    fine = np.linspace(4, 6, 2001)
    peak = fine[curve(fine).argmax()]
    title = "Taylor-Green Re = 100, 48³, Brachet et al. (1983): "
    yield percent(title + "peak of ε", curve(peak), 0.01297, 0.5)
    yield Row(title + "its time", "4.9", f"{peak:.2f}", "0.1", abs(peak - 4.9) <= 0.1)
    times, reference = np.loadtxt(BRACHET).T
    off = 100 * (curve(times) / reference - 1)
    rms, largest = (off**2).mean() ** 0.5, np.abs(off).max()
    name = f"rms deviation of ε to t = 10, {len(times)} points (largest {largest:.2f} %)"
    yield below(title + name, rms, 0.5, " %")


def read(folder: Path, name: str) -> str:
    """A reference file, which must be the one that the tolerances are for."""
    content = (folder / name).read_bytes().replace(b"\r\n", b"\n")
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        sys.exit(f"{folder / name}: expected sha256 {SHA256[name]}, found {found}")
    return content.decode("ascii")


def workshop(folder: Path) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """k and epsilon = Z / 800 of the 512³ reference as functions of time.

    Its third column, -dK/dt, is a difference of the second order in time; 2 nu Z is better.
    """
    table = np.loadtxt(read(folder, "spectral_Re1600_512.gdiag").splitlines())
    return CubicSpline(table[:, 0], table[:, 1]), CubicSpline(table[:, 0], table[:, 3] / 800)


def reynolds_1600(folder: Path) -> Iterator[Row]:
    k, epsilon = workshop(folder)
    found = taylor_green(64, 1 / 1600, 3.0, every=0.5, cfl=0.6)
    title = "Taylor-Green Re = 1600, 64³, 512³ reference: "
    for t in (1.0, 2.0, 3.0):
        yield percent(f"{title}k({t:g})", found[t].kinetic_energy.item(), k(t), 0.002)
        yield percent(f"{title}ε({t:g})", found[t].dissipation.item(), epsilon(t), 0.5)
    found = taylor_green(96, 1 / 1600, 5.0, every=0.5, cfl=0.6)
    title = "Taylor-Green Re = 1600, 96³: "
    yield percent(f"{title}k(3)", found[3.0].kinetic_energy.item(), k(3.0), 0.002)
    yield percent(f"{title}k(5)", found[5.0].kinetic_energy.item(), k(5.0), 0.1)


def whole_curve(folder: Path, points: int, device: str) -> Iterator[Row]:
    """Up to t = 20; meant for 256³ points and a GPU."""
    k, epsilon = workshop(folder)
    found = taylor_green(points, 1 / 1600, 19.9, device, every=0.1, cfl=0.6)
    t = np.array(list(found))
    ours = np.array([s.dissipation.item() for s in found.values()])
    curve, fine = CubicSpline(t, ours), np.linspace(8, 10, 2001)
    peak = fine[curve(fine).argmax()]
    title = f"Taylor-Green Re = 1600, {points}³: "
    yield percent(f"{title}k(5)", found[5.0].kinetic_energy.item(), k(5.0), 0.02)
    yield percent(f"{title}peak of ε (t = {peak:.2f})", curve(peak), 0.0128577, 1.0)
    off = 100 * (ours - epsilon(t)) / 0.0128577
    largest = f"largest {np.abs(off).max():.2f} % at t = {t[np.abs(off).argmax()]:.1f}"
    yield below(
        f"{title}rms deviation of ε, of its peak ({largest})", (off**2).mean() ** 0.5, 1.0, " %"
    )


C_EPSILON = {
    1.2807: 1.429,
    1.5537: 1.691,
    2.0182: 1.821,
    2.624: 1.898,
    3.1689: 1.892,
    4.0412: 1.844,
}
"""C of the identity at some of the times of the spectra, computed beforehand by other code."""


def post_processing(folder: Path) -> Iterator[Row]:
    """Our statistics of the published spectra against the published series."""
    nu = 3.5014006e-4
    rows = np.loadtxt(read(folder, "decaying-512/CB512.f_t").splitlines()[13:])
    series_of = [CubicSpline(rows[:, 0], column) for column in rows[:, 1:].T]
    lines = read(folder, "decaying-512/CB512.es").splitlines()
    first = next(i for i, line in enumerate(lines) if line.split()[:1] == ["242"])
    blocks = [lines[i : i + 243] for i in range(first, len(lines), 243)]
    t = np.array([float(block[0].split()[1]) for block in blocks])
    energy = torch.from_numpy(np.array([block[1:] for block in blocks], dtype=float))
    kappa = torch.arange(242, dtype=torch.float64)
    ours = {name: x.numpy() for name, x in spectral_moments(kappa, energy).items()}
    k, square, scale, minus_skewness = (curve(t) for curve in series_of)
    title = f"Wray 512³, {len(t)} times: "
    for name, found, expected, tolerance in (
        ("k", ours["kinetic_energy"], k, 1e-4),
        ("⟨ω²⟩", 2 * ours["enstrophy"], square, 3e-3),
        ("L", ours["integral_scale"], scale, 1e-4),
    ):
        yield below(
            f"{title}{name}, largest relative difference",
            np.abs(found / expected - 1).max(),
            tolerance,
        )
    epsilon = nu * square
    c = 4 * nu**2 * ours["palinstrophy"] * k / epsilon**2
    c -= 7 / (3 * 15**0.5) * minus_skewness * np.sqrt(k**2 / (nu * epsilon))
    off = max(abs(c[np.abs(t - time).argmin()] - value) for time, value in C_EPSILON.items())
    yield below(title + "C of the exact identity, largest difference to a table", off, 0.005)
    slope = np.gradient(np.log(epsilon), t) / np.gradient(np.log(k), t)
    rms = ((c - slope)[1:-1] ** 2).mean() ** 0.5
    yield below(title + "C of the identity less d ln ε / d ln k, rms", rms, 0.05)


PARTS = {
    "regression": regression,
    "series": short_times,
    "balances": balances,
    "invariance": invariance,
    "skewness": skewness,
    "re100": reynolds_100,
}
WITH_REFERENCE = {"wray": post_processing, "re1600": reynolds_1600}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, help="folder with the reference data")
    parser.add_argument("--parts", nargs="+", choices=[*PARTS, *WITH_REFERENCE], help="only these")
    parser.add_argument("--points", type=int, help="also Re = 1600 up to t = 20 on N³ points")
    parser.add_argument("--device", default="cpu", help="for --points")
    options = parser.parse_args()
    folder: Path | None = options.reference
    if folder is None and (options.points or set(options.parts or ()) & WITH_REFERENCE.keys()):
        parser.error("this needs --reference DIR, a folder with the reference data")
    parts: list[Iterator[Row]] = [
        part() for name, part in PARTS.items() if name in (options.parts or PARTS)
    ]
    if folder is not None:
        chosen = options.parts or WITH_REFERENCE
        parts += [part(folder) for name, part in WITH_REFERENCE.items() if name in chosen]
        if options.points:
            parts.append(whole_curve(folder, options.points, options.device))
    print("| check | reference | ours | tolerance | ok |\n|---|---|---|---|---|")
    failed = 0
    for part in parts:
        for row in part:
            print(row, flush=True)
            failed += not row.ok
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
