"""A periodic grid, the Fourier modes kept on it, and fast transforms between the two.

Only modes with |kappa_i| < N/3 are kept (the 2/3 rule), 30 % of all, and nothing else is stored,
multiplied or transformed: the modes are padded with zeros one axis at a time, so that the first
two passes of a transform run over 4/9 and 2/3 of the lines. What happens between the transforms
to and from the points is done for a few planes at a time, which stay in the processor's cache.

Layout. Inside, modes are stored as (kx, B, F, kz, ky), with B realisations of F fields: then the
transform along x is a single strided one, a slab of x is one piece of memory, and the lines along
y are contiguous. Outside they are (B, F, kx, ky, kz), a view of the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor

__all__ = ["FourierGrid", "as_complex", "as_pairs"]

SLAB_POINTS = 2**16
"""Points of a slab on a CPU: with its nine fields in single precision it fills a 2 MiB cache."""

SLAB_POINTS_GPU = 2**27


class FourierGrid:
    """N^3 points in the box [0, 2 pi]^3 and the modes |kappa_i| <= K that are kept on them.

    Args:
        points: N, points a side; even, at least 8.
        dtype: torch.float32 or torch.float64.
        device: Where the fields live.
        dealias: Keep |kappa_i| < N/3, so that products of two fields are free of aliasing errors;
            otherwise |kappa_i| < N/2.

    Attributes:
        largest: K, the largest wavenumber kept along an axis.
        modes: M = 2 K + 1, wavenumbers kept along x and y; along z there are K + 1 (real fields).
        spacing: Distance of two points, 2 pi / N.
    """

    def __init__(
        self,
        points: int,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        dealias: bool = True,
    ) -> None:
        if points < 8 or points % 2:
            raise ValueError(f"expected an even number of points a side, at least 8; got {points}")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"expected dtype torch.float32 or torch.float64; got {dtype}")
        self.points = points
        self.dtype = dtype
        self.device = torch.device(device)
        self.dealias = dealias
        self.largest = (points - 1) // (3 if dealias else 2)
        self.modes = 2 * self.largest + 1
        self.spacing = 2 * torch.pi / points
        self._zeros: dict[tuple[object, ...], Tensor] = {}

    # Wavenumbers, each shaped so that it multiplies modes (kx, B, F, kz, ky) as real pairs.

    @cached_property
    def signed(self) -> Tensor:
        """0, 1, ..., K, -K, ..., -1: the order of the wavenumbers along x and y."""
        positive = torch.arange(self.largest + 1, dtype=self.dtype, device=self.device)
        return torch.cat([positive, -positive[1:].flip(0)])

    @cached_property
    def kappa(self) -> tuple[Tensor, Tensor, Tensor]:
        """kappa_x (M, 1, 1, 1), kappa_y (2 M,) and kappa_z (K + 1, 1), for fields as real pairs."""
        along_z = self.signed[: self.largest + 1]
        return self.signed.view(-1, 1, 1, 1), self.signed.repeat_interleave(2), along_z.view(-1, 1)

    @cached_property
    def squared(self) -> Tensor:
        """|kappa|^2, (M, 1, K + 1, M)."""
        x, y, z = self.signed.view(-1, 1, 1), self.signed, self.signed[: self.largest + 1]
        return (x**2 + y**2 + z.view(-1, 1) ** 2).unsqueeze(1)

    @cached_property
    def inverse_squared(self) -> Tensor:
        """1/|kappa|^2 as real pairs, (M, 1, K + 1, 2 M); 0 for the mean."""
        inverse = torch.where(self.squared > 0, 1 / self.squared, torch.zeros_like(self.squared))
        return inverse.repeat_interleave(2, -1)

    @cached_property
    def weight(self) -> Tensor:
        """How often a stored mode counts in a sum over all: 2, but 1 in the plane kz = 0."""
        weight = torch.full((self.largest + 1, 1), 2.0, dtype=self.dtype, device=self.device)
        weight[0] = 1
        return weight

    @cached_property
    def shell(self) -> Tensor:
        """The shell of a mode, |kappa| rounded to the nearest integer, (M, 1, K + 1, M)."""
        return self.squared.double().sqrt().round().long()

    @property
    def complex_dtype(self) -> torch.dtype:
        return torch.complex64 if self.dtype == torch.float32 else torch.complex128

    # Between the layouts.

    @staticmethod
    def inside(modes: Tensor) -> Tensor:
        """(B, F, kx, ky, kz) -> (kx, B, F, kz, ky), contiguous; a copy only where it must be."""
        return modes.permute(2, 0, 1, 4, 3).contiguous()

    @staticmethod
    def outside(modes: Tensor) -> Tensor:
        """(kx, B, F, kz, ky) -> (B, F, kx, ky, kz), a view."""
        return modes.permute(1, 2, 0, 4, 3)

    # Transforms. u(x) = sum over kappa of u_kappa exp(i kappa . x).

    def padded(self, batch: int, fields: int) -> Tensor:
        """Zeros (N, B, F, K + 1, M) to put modes into with `spread`, used anew in every call."""
        return self._buffer("x", self.points, batch, fields, self.largest + 1, self.modes)

    def spread(self, modes: Tensor, padded: Tensor) -> None:
        """Write modes (kx, B, F, kz, ky) where the points along x expect them."""
        low, high = self.largest + 1, self.points - self.largest
        padded[:low] = modes[:low]
        padded[high:] = modes[low:]

    def slabs(self, padded: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The fields on the points, a few planes of constant x at a time.

        Args:
            padded: Modes spread over the points along x, (N, B, F, kz, ky); see `padded`.

        Yields:
            Which planes, and the fields on them (planes, B, F, N along y, N along z). The memory
            is the caller's until the next slab.
        """
        n, low, high = self.points, self.largest + 1, self.points - self.largest
        along_x = torch.fft.ifft(padded, dim=0, norm="forward")
        batch, fields = padded.shape[1:3]
        planes = self.planes(batch)
        for first in range(0, n, planes):
            part = along_x[first : first + planes]
            shape = (len(part), batch, fields)
            lines = self._buffer("y", *shape, low, n)
            lines[..., :low] = part[..., :low]
            lines[..., high:] = part[..., low:]
            rows = self._buffer("z", *shape, n, n // 2 + 1)
            rows[..., :low] = torch.fft.ifft(lines, norm="forward").transpose(-1, -2)
            yield slice(first, first + planes), torch.fft.irfft(rows, n=n, norm="forward")

    def gather(self, batch: int, fields: int) -> tuple[Callable[[slice, Tensor], None], Tensor]:
        """The way back, slab by slab.

        Returns:
            A function that takes planes as `slabs` gives them (planes, B, F, N, N), and where it
            collects them (N, B, F, kz, ky); `finish` makes modes of it.
        """
        low, high = self.largest + 1, self.points - self.largest
        kept = (*(batch, fields), low, self.modes)
        collected = torch.empty(self.points, *kept, dtype=self.complex_dtype, device=self.device)

        def put(planes: slice, values: Tensor) -> None:
            rows = torch.fft.rfft(values, norm="forward")[..., :low]
            lines = torch.fft.fft(rows.transpose(-1, -2).contiguous(), norm="forward")
            target = collected[planes]
            target[..., :low] = lines[..., :low]
            target[..., low:] = lines[..., high:]

        return put, collected

    def finish(self, collected: Tensor) -> Tensor:
        """Modes (kx, B, F, kz, ky) of what `gather` has collected."""
        low, high = self.largest + 1, self.points - self.largest
        along_x = torch.fft.fft(collected, dim=0, norm="forward")
        return torch.cat([along_x[:low], along_x[high:]])

    def to_points(self, modes: Tensor) -> Tensor:
        """Modes (kx, B, F, kz, ky) -> fields on the points (B, F, N, N, N)."""
        batch, fields = modes.shape[1:3]
        padded = self.padded(batch, fields)
        self.spread(modes, padded)
        return torch.cat([values for _, values in self.slabs(padded)]).permute(1, 2, 0, 3, 4)

    def to_modes(self, values: Tensor) -> Tensor:
        """Fields on the points (B, F, N, N, N) -> the modes kept (kx, B, F, kz, ky)."""
        batch, fields = values.shape[:2]
        put, collected = self.gather(batch, fields)
        planes = self.planes(batch)
        for first in range(0, self.points, planes):
            part = slice(first, first + planes)
            put(part, values[:, :, part].permute(2, 0, 1, 3, 4))
        return self.finish(collected)

    def planes(self, batch: int) -> int:
        """How many planes of constant x are worked on at a time."""
        points = SLAB_POINTS if self.device.type == "cpu" else SLAB_POINTS_GPU
        return max(1, min(self.points, points // (batch * self.points**2)))

    def _buffer(self, axis: str, *shape: int) -> Tensor:
        """Zeros; what is never written stays zero, which is the padding."""
        key = (axis, *shape)
        if key not in self._zeros:
            self._zeros[key] = torch.zeros(shape, dtype=self.complex_dtype, device=self.device)
        return self._zeros[key]


def as_pairs(modes: Tensor) -> Tensor:
    """Complex (..., n) as real (..., 2 n), a view: torch multiplies these by real numbers, while
    it would first make complex numbers of the real factor otherwise."""
    return torch.view_as_real(modes).flatten(-2)


def as_complex(pairs: Tensor) -> Tensor:
    """The way back from `as_pairs`, a view."""
    return torch.view_as_complex(pairs.unflatten(-1, (-1, 2)))
