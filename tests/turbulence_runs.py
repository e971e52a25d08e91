"""An ensemble of turbulent decays in closed form, in a file as that of the simulations.

Counted in turnovers s, ds = (ε/k) dt, the coefficient C of dε/dt = -C ε²/k relaxes from -1 at the
start to C∞, so that ε has a peak where C = 0:

    C = C∞ - (C∞ + 1) e^{-rs},    ln k = ln k₀ - s,    ln ε = ln ε₀ - ∫C ds

Every run has an r and a C∞ of its own. Palinstrophy and skewness fulfil the identity of C.
"""

import json
import math
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from scipy.integrate import cumulative_trapezoid
from scipy.interpolate import CubicSpline

CONDITIONS = (
    ("train", 0.012, "k4", (0, 1)),
    ("train", 0.021, "k4", (0, 1)),
    ("validation", 0.012, "k4", (5,)),
    ("validation", 0.021, "k4", (5,)),
    ("test-seed", 0.012, "k4", (6, 7)),
    ("test-seed", 0.021, "k4", (6, 7)),
    ("test-viscosity", 0.0085, "k4", (0, 1)),
    ("test-spectrum", 0.0145, "k2", (0, 1)),
)
SHELLS = 22


def write_ensemble(path: Path) -> Path:
    """Write it; 16 runs of five splits."""
    tensors, conditions = {}, []
    for split, viscosity, spectrum, seeds in CONDITIONS:
        conditions.append(
            {
                "split": split,
                "points": 64,
                "viscosity": viscosity,
                "peak_wavenumber": 3.0,
                "spectrum": spectrum,
                "seeds": list(seeds),
            }
        )
        for seed in seeds:
            name = f"nu{viscosity:.4f}-{spectrum}-seed{seed}"
            series = decay(viscosity, spectrum, seed)
            tensors |= {f"{name}/{quantity}": each for quantity, each in series.items()}
    settings = {"design": {"name": "test", "resolution": 0.0, "conditions": conditions}}
    save_file(tensors, path, metadata={"settings": json.dumps(settings)})
    return path


def decay(viscosity: float, spectrum: str, seed: int) -> dict[str, np.ndarray]:
    """The series of one run, every 0.05 until 2.6 turnovers of the peak after it."""
    draw = np.random.default_rng([seed, round(1e4 * viscosity)])
    last = 1.5 + draw.normal(0, 0.05) + (0.1 if spectrum == "k2" else 0)
    rate = 3.0 + draw.normal(0, 0.1) - 20 * viscosity
    s = np.linspace(0, 6, 12_001)
    gap = (last + 1) * np.exp(-rate * s)
    log_k = math.log(1.5) - s
    log_epsilon = math.log(33.75 * viscosity) - last * s + (last + 1 - gap) / rate
    t = cumulative_trapezoid(np.exp(log_k - log_epsilon), s, initial=0)
    peak = int(log_epsilon.argmax())
    end = t[peak] + 2.6 * math.exp(log_k[peak] - log_epsilon[peak])
    time = np.arange(0, end, 0.05)
    assert time[-1] < t[-1]
    log_k, log_epsilon, gap = (CubicSpline(t, each)(time) for each in (log_k, log_epsilon, gap))
    k, epsilon = np.exp(log_k), np.exp(log_epsilon)
    reynolds = k**2 / (viscosity * epsilon)
    skewness = 0.45 + draw.normal(0, 0.02) - 0.02 * (log_k - math.log(1.5))
    production = 7 / (3 * math.sqrt(15)) * skewness * np.sqrt(reynolds)
    destruction = last - gap + production
    eta = (viscosity**3 / epsilon) ** 0.25
    shells = np.exp(-0.5 * np.arange(SHELLS))
    return {
        "time": time,
        "kinetic_energy": k,
        "dissipation": epsilon,
        "enstrophy_production": production * epsilon**2 / (2 * viscosity * k),
        "palinstrophy": destruction * epsilon**2 / (4 * viscosity**2 * k),
        "skewness": -skewness,
        "integral_scale": k**1.5 / epsilon / 2,
        "reynolds_lambda": np.sqrt(20 / 3 * reynolds),
        "kmax_eta": 64 / 3 * eta,
        "spectrum_peak": shells.astype(np.float32),
        "spectrum_end": (shells / 2).astype(np.float32),
    }
