"""What every training of a flow of vectors can be told."""

from dataclasses import dataclass
from typing import Literal

import torch

from zoo.odes import ADAPTIVE, FIXED, Solver
from zoo.training.settings import Settings, SettingsError, option

__all__ = ["FlowSettings"]


@dataclass(frozen=True)
class FlowSettings(Settings):
    """Settings of flow matching, and of maximum likelihood after it; either may have no steps."""

    matching_steps: int = option(0, "steps of flow matching")
    matching_batch: int = option(256, "points of one of them, over all processes")
    matching_rate: float = option(2e-3, "largest learning rate of flow matching")
    coupling: Literal["optimal", "independent"] = option(
        "optimal", "pairs of noise and data: optimal transport within the batch, or any"
    )
    sigma: float = option(0.0, "blur around the line of a pair")
    likelihood_steps: int = option(10_000, "steps of maximum likelihood")
    batch_size: int = option(100, "points of one of them, over all processes")
    learning_rate: float = option(1e-3, "largest learning rate of maximum likelihood")
    method: str = option("dopri5", "ODE solver in training", choices=(*ADAPTIVE, *FIXED))
    solver_steps: int | None = option(None, "equal steps of a solver that has such")
    further_steps: int = option(
        0, "up to so many more, drawn anew for every batch, so that none is leant on"
    )
    tolerance: float = option(1e-5, "absolute and relative, of a solver that chooses its steps")
    adjoint: bool = option(False, "gradients by the adjoint equation: less memory, more time")
    trace: Literal["exact", "hutchinson"] = option("exact", "divergence in training")
    probes: int = option(1, "probes of Hutchinson's estimate")
    kinetic: float = option(0.0, "λ_K of RNODE, weight of ∫ ‖v‖² dt")
    jacobian: float = option(0.0, "λ_J of RNODE, weight of ∫ ‖∂v/∂z‖² dt")
    warmup: int = option(50, "steps of each phase in which the learning rate rises")
    weight_decay: float = option(1e-5, "of Adam")
    clip: float | None = option(None, "largest norm of the gradient, or none")
    ema: float = option(0.999, "decay of the moving average of the weights, which is what is kept")
    hidden: tuple[int, ...] = option((64, 64, 64), "widths of the velocity's hidden layers")
    activation: Literal["tanh", "softplus", "silu", "sine"] = option("tanh", "of the velocity")
    fineness: float = option(
        1.0, "factor of the first layer's initial weights; large: fine details from the beginning"
    )
    frequencies: int = option(0, "of the time, in the velocity")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least_zero("matching_steps", "likelihood_steps", "sigma", "warmup", "frequencies")
        self._at_least_zero("further_steps")
        self._at_least_zero("kinetic", "jacobian", "weight_decay")
        self._more_than_zero("matching_batch", "matching_rate", "batch_size", "learning_rate")
        self._more_than_zero("tolerance", "probes", "clip", "fineness")
        if not self.matching_steps + self.likelihood_steps:
            raise SettingsError("matching_steps, likelihood_steps: expected more than 0 in all")
        if not 0 <= self.ema < 1:
            raise SettingsError(f"ema: expected a number in [0, 1), found {self.ema}")
        if not self.hidden or min(self.hidden) < 1:
            raise SettingsError(f"hidden: expected widths of at least 1, found {self.hidden}")
        if self.further_steps and self.solver_steps is None:
            raise SettingsError("further_steps: expected solver_steps beside it, found none")
        try:
            self.solver()
        except ValueError as error:
            raise SettingsError(
                f"solver_{error}" if "steps:" in str(error) else str(error)
            ) from None

    def solver(self, generator: torch.Generator | None = None) -> Solver:
        """How the ODE is solved in training.

        Args:
            generator: of the number of further steps; without it there are none.
        """
        steps = self.solver_steps
        if steps is not None and generator is not None and self.further_steps:
            steps += int(torch.randint(self.further_steps + 1, (), generator=generator))
        return Solver(self.method, self.tolerance, self.tolerance, steps, adjoint=self.adjoint)

    def architecture(self) -> dict[str, object]:
        """The keyword arguments of the model that these settings choose."""
        return {
            "hidden": self.hidden,
            "activation": self.activation,
            "frequencies": self.frequencies,
        }
