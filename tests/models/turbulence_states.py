"""States of turbulence to forecast from, shared by the tests of its models."""

import torch
from torch import Tensor


def states(batch: int = 6, *, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Some near the dissipation's peak, some later, in no units in particular."""
    generator = torch.Generator().manual_seed(3)
    k, turnover, reynolds, skewness, destruction = torch.rand(
        5, batch, generator=generator
    ).double()
    k, turnover, reynolds = 0.5 + k, 0.5 + turnover, 20 + 180 * reynolds
    epsilon = k / turnover
    nu = k.square() / (epsilon * reynolds)
    palinstrophy = (2.5 + destruction) * epsilon.square() / (4 * nu.square() * k)
    state = {
        "k": k,
        "epsilon": epsilon,
        "nu": nu,
        "skewness": -0.4 - 0.15 * skewness,
        "palinstrophy": palinstrophy,
    }
    return {name: value.to(dtype) for name, value in state.items()}


def in_other_units(state: dict[str, Tensor], length: float, time: float) -> dict[str, Tensor]:
    """The same flows, their numbers for units of 1/length and 1/time of the former ones."""
    powers = {"k": (2, -2), "epsilon": (2, -3), "nu": (2, -1), "palinstrophy": (-2, -2)}
    scaled = {
        name: state[name] * length**of_length * time**of_time
        for name, (of_length, of_time) in powers.items()
    }
    return {**scaled, "skewness": state["skewness"]}
