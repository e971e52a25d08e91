"""The best weights of a training by what a validation says: early stopping, after the fact."""

from typing import Any, Generic, TypeVar

from torch import nn

from zoo.training.ema import EMA

__all__ = ["Best"]

M = TypeVar("M", bound=nn.Module)


class Best(Generic[M]):
    """A copy of a module at the point of the training where its loss was smallest.

    Args:
        module: the module at the beginning.

    Attributes:
        module: the copy, in eval mode, without gradients.
        loss: the smallest so far; none yet if infinite.
    """

    def __init__(self, module: M) -> None:
        # With a decay of 0 the average is the last module that it was given.
        self._copy = EMA(module, 0.0)
        self.module: M = self._copy.module
        self.loss = float("inf")

    def offer(self, module: nn.Module, loss: float) -> bool:
        """Take the module's weights if its loss is smaller than any before; whether it was."""
        if not loss < self.loss:
            return False
        self.loss = loss
        self._copy.update(module)
        return True

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"loss": self.loss, "copy": self._copy.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.loss = state["loss"]
        self._copy.load_state_dict(state["copy"])
