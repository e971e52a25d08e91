"""Series with irregular times: what forecasters are given, checked and made dense."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Forecast", "Observations", "check_queries", "observations"]


@dataclass(frozen=True)
class Forecast:
    """What a forecaster answers.

    Args:
        mean: (B, Q, D), at the times that were asked for.
        samples: (S, B, Q, D), draws of the curve, without the noise of observations.
    """

    mean: Tensor
    samples: Tensor


@dataclass(frozen=True)
class Observations:
    """Observed points of B series, those of each moved to the front.

    Args:
        times: (B, N), those behind the last observed point repeat its time.
        values: (B, N, D), 0 where not observed.
        mask: which coordinates are observed, (B, N, D), bool.
        present: points with at least one observed coordinate, (B, N), bool.
    """

    times: Tensor
    values: Tensor
    mask: Tensor
    present: Tensor

    @property
    def counts(self) -> Tensor:
        """Number of observed points of each series, (B,), at least 1."""
        return self.present.sum(1)

    @property
    def first(self) -> Tensor:
        """Time of the first observed point of each series, (B,)."""
        return self.times[:, 0]

    @property
    def last(self) -> Tensor:
        """Time of the last observed point of each series, (B,)."""
        return self.times[:, -1]


def observations(times: Tensor, values: Tensor, mask: Tensor, dim: int) -> Observations:
    """Check what was observed and move it to the front, so that padding anywhere is the same.

    Whatever `times` and `values` hold where nothing is observed is not looked at.

    Args:
        times: (B, N), strictly increasing over the observed points of a series.
        values: (B, N, D).
        mask: (B, N) or (B, N, D), bool, or 0 and 1.
        dim: D.

    Raises:
        ValueError: a shape is wrong, the batch is empty, a series has no observed point, its times
            do not increase, or a time or value that counts is not finite.
    """
    _check_shapes(times, values, mask, dim)
    mask = _as_bool(mask)
    if mask.dim() == 2:
        mask = mask.unsqueeze(2).expand_as(values)
    present = mask.any(2)
    if not bool(present.any(1).all()):
        index = int(present.any(1).logical_not().nonzero()[0])
        raise ValueError(
            f"series {index}: expected at least one observed point, found none; leave it out"
        )
    counts = present.sum(1)
    # A stable order keeps the observed ones as they come.
    order = (
        present.logical_not().to(torch.uint8).argsort(dim=1, stable=True)[:, : int(counts.max())]
    )
    wide = order.unsqueeze(2).expand(-1, -1, dim)
    present, mask = present.gather(1, order), mask.gather(1, wide)
    values = torch.where(mask, values.gather(1, wide), 0)
    times = times.gather(1, order)
    last = times.gather(1, counts.unsqueeze(1) - 1)
    times = torch.where(present, times, last)
    _check_finite(times, values)
    _check_increasing(times, present)
    return Observations(times, values, mask, present)


def check_queries(times: Tensor, batch: int) -> None:
    """Refuse times that cannot be asked for.

    Raises:
        ValueError: they are not (B, Q), none are given, or one is not finite.
    """
    if times.dim() != 2 or times.shape[0] != batch or times.shape[1] == 0:
        found = tuple(times.shape)
        raise ValueError(f"times_query: expected ({batch}, Q) with Q of at least 1, found {found}")
    if not bool(times.isfinite().all()):
        index = int(times.isfinite().all(1).logical_not().nonzero()[0])
        raise ValueError(f"times_query: expected finite times, found others in series {index}")


def _check_shapes(times: Tensor, values: Tensor, mask: Tensor, dim: int) -> None:
    if times.dim() != 2 or 0 in times.shape:
        found = tuple(times.shape)
        raise ValueError(
            f"times_observed: expected (B, N), at least one series and one point, found {found}"
        )
    expected = (*times.shape, dim)
    if tuple(values.shape) != expected:
        raise ValueError(f"values: expected {expected}, found {tuple(values.shape)}")
    if tuple(mask.shape) not in (expected[:2], expected):
        found = tuple(mask.shape)
        raise ValueError(f"mask: expected {expected[:2]} or {expected}, found {found}")


def _as_bool(mask: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return mask
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError("mask: expected true and false, or 0 and 1, found other numbers")
    return mask == 1


def _check_finite(times: Tensor, values: Tensor) -> None:
    for name, tensor in {"times_observed": times, "values": values}.items():
        finite = tensor.isfinite().flatten(1).all(1)
        if not bool(finite.all()):
            index = int(finite.logical_not().nonzero()[0])
            raise ValueError(
                f"{name}: expected finite numbers, found NaN or infinity in series {index}; "
                "what is missing has to be false in the mask"
            )


def _check_increasing(times: Tensor, present: Tensor) -> None:
    wrong = (times.diff(dim=1) <= 0) & present[:, 1:]
    if bool(wrong.any()):
        series, point = wrong.nonzero()[0].tolist()
        before, after = times[series, point].item(), times[series, point + 1].item()
        raise ValueError(
            f"times_observed: expected strictly increasing times, found {before:g} followed by "
            f"{after:g} in series {series}; sort them, and average what was seen at one time"
        )
