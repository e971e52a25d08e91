"""What can go wrong, as exception types: one base class, one type for each kind of trouble."""

from __future__ import annotations

__all__ = [
    "CardError",
    "DataError",
    "SimulationError",
    "UnknownNameError",
    "WeightsError",
    "ZooError",
]


class ZooError(Exception):
    """Base of every error that the zoo raises on purpose; its text is written for the user."""


class UnknownNameError(ZooError, ValueError):
    """A model, weights tag, task or keyword argument that does not exist."""


class CardError(ZooError, ValueError):
    """A card that cannot be read; the text names the file and the field."""


class DataError(ZooError, RuntimeError):
    """A data set that is missing or damaged."""


class SimulationError(ZooError, RuntimeError):
    """A simulation that cannot go on, or must not: unstable, under-resolved or not finite."""


class WeightsError(ZooError, RuntimeError):
    """Weights that cannot be found, verified, loaded or published.

    Args:
        message: What happened, in one sentence.
        file: The file or address concerned.
        expected: What should have been there.
        found: What was there.
        next_step: What the user can do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        file: object = None,
        expected: object = None,
        found: object = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = None if file is None else str(file)
        self.expected = None if expected is None else str(expected)
        self.found = None if found is None else str(found)
        self.next_step = next_step

    def __str__(self) -> str:
        details = {
            "file": self.file,
            "expected": self.expected,
            "found": self.found,
            "next step": self.next_step,
        }
        lines = [f"  {label + ':':<10} {text}" for label, text in details.items() if text]
        return "\n".join([self.message, *lines])
