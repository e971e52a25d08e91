"""Ordinary differential equations: torchdiffeq's solvers, counted, with errors that say where."""

from zoo.odes.divergence import exact_divergence, hutchinson_divergence, probe
from zoo.odes.solver import ADAPTIVE, FIXED, Solution, Solver, SolverError, solve

__all__ = [
    "ADAPTIVE",
    "FIXED",
    "Solution",
    "Solver",
    "SolverError",
    "exact_divergence",
    "hutchinson_divergence",
    "probe",
    "solve",
]
