"""A periodic grid, the Fourier modes kept on it, and fast transforms between the two.

Only modes with |kappa_i| < N/3 are kept (the 2/3 rule), 30 % of all, and nothing else is stored,
multiplied or transformed. A transform is three products with small matrices of cosines and sines,
one for each axis: between M = 2/3 N waves and N points. That is more arithmetic than fast Fourier
transforms of N values, but it needs no padding with zeros and no transposition in memory, and
matrix products run at the full speed of the processor: a step of the solver takes about three
quarters of its time with padded transforms by torch.fft, up to 128 points a side on one core. What
happens between the transforms to and from the points is done for a few planes at a time, which stay
in the cache.

Layout. Inside, modes are stored as (kx, B, F, ky, kz) with B realisations of F fields and the
wavenumbers 0, 1, ..., K, -1, ..., -K along x and y, so that kappa and -kappa lie in blocks of the
same order. Outside they are (B, F, kx, ky, kz) in the usual order 0, 1, ..., K, -K, ..., -1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
        if not isinstance(points, int) or points < 8 or points % 2:
            raise ValueError(f"expected an even number of points a side, at least 8; got {points}")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"expected dtype torch.float32 or torch.float64; got {dtype}")
        self.points = points
        self.dtype = dtype
        self.device = torch.device(device)
        if self.device.type == "cuda" and torch.get_float32_matmul_precision() != "highest":
            # The transforms are matrix products; with ten bits they would not be transforms.
            raise ValueError(
                "expected float32 products in full precision on a GPU; found"
                f" {torch.get_float32_matmul_precision()!r};"
                " call torch.set_float32_matmul_precision('highest') first"
            )
        self.dealias = dealias
        self.largest = (points - 1) // (3 if dealias else 2)
        self.modes = 2 * self.largest + 1
        self.spacing = 2 * torch.pi / points
        self._buffers: dict[tuple[object, ...], Tensor] = {}

    # Wavenumbers, each shaped so that it multiplies modes (kx, B, F, ky, kz) as real pairs.

    @cached_property
    def signed(self) -> Tensor:
        """0, 1, ..., K, -1, ..., -K: the order of the wavenumbers along x and y."""
        positive = torch.arange(self.largest + 1, dtype=self.dtype, device=self.device)
        return torch.cat([positive, -positive[1:]])

    @cached_property
    def kappa(self) -> tuple[Tensor, Tensor, Tensor]:
        """kappa_x (M, 1, 1, 1), kappa_y (M, 1) and kappa_z (2 K + 2,), for fields as real pairs."""
        along_z = self.signed[: self.largest + 1]
        return self.signed.view(-1, 1, 1, 1), self.signed.view(-1, 1), along_z.repeat_interleave(2)

    @cached_property
    def squared(self) -> Tensor:
        """|kappa|^2, (M, 1, M, K + 1)."""
        x, y, z = self.signed.view(-1, 1, 1), self.signed.view(-1, 1), self.signed
        return (x**2 + y**2 + z[: self.largest + 1] ** 2).unsqueeze(1)

    @cached_property
    def inverse_squared(self) -> Tensor:
        """1/|kappa|^2 as real pairs, (M, 1, M, 2 K + 2); 0 for the mean."""
        inverse = torch.where(self.squared > 0, 1 / self.squared, torch.zeros_like(self.squared))
        return inverse.repeat_interleave(2, -1)

    @cached_property
    def weight(self) -> Tensor:
        """How often a stored mode counts in a sum over all: 2, but 1 in the plane kz = 0."""
        weight = torch.full((self.largest + 1,), 2.0, dtype=self.dtype, device=self.device)
        weight[0] = 1
        return weight

    @cached_property
    def shell(self) -> Tensor:
        """The shell of a mode, |kappa| rounded to the nearest integer, (M, 1, M, K + 1)."""
        return self.squared.double().sqrt().round().long()

    @property
    def complex_dtype(self) -> torch.dtype:
        return torch.complex64 if self.dtype == torch.float32 else torch.complex128

    def energy(self, modes: Tensor) -> Tensor:
        """Energy of the modes (kx, B, F, ky, kz), and of those not stored: (kx, B, ky, kz)."""
        return torch.view_as_real(modes).square().sum(-1).sum(2) * self.weight / 2

    # Between the layouts.

    def inside(self, modes: Tensor) -> Tensor:
        """(B, F, kx, ky, kz) in the usual order -> (kx, B, F, ky, kz) in ours, a copy."""
        return self._reordered(modes).permute(2, 0, 1, 3, 4).contiguous()

    def outside(self, modes: Tensor) -> Tensor:
        """(kx, B, F, ky, kz) in our order -> (B, F, kx, ky, kz) in the usual one, a copy."""
        return self._reordered(modes.permute(1, 2, 0, 3, 4))

    def _reordered(self, modes: Tensor) -> Tensor:
        """The negative wavenumbers along x and y (B, F, kx, ky, kz) the other way round."""
        return modes[:, :, self._order][:, :, :, self._order]

    @cached_property
    def _order(self) -> Tensor:
        index = torch.arange(self.modes, device=self.device)
        return torch.cat([index[: self.largest + 1], index[self.largest + 1 :].flip(0)])

    # Transforms. u(x) = sum over kappa of u_kappa exp(i kappa . x).

    @cached_property
    def _waves(self) -> Tensor:
        """cos(k x) for k = 0 ... K, then sin(k x) for k = 1 ... K, on the points, (N, M)."""
        # The angle is reduced to one turn in integers: the waves are as exact as the dtype.
        index = torch.arange(self.points, dtype=torch.float64)
        turns = torch.outer(index, index[: self.largest + 1]) % self.points
        angle = turns * (2 * torch.pi / self.points)
        waves = torch.cat([angle.cos(), angle.sin()[:, 1:]], 1)
        return waves.to(device=self.device, dtype=self.dtype)

    @cached_property
    def _waves_z(self) -> Tensor:
        """Points along z from pairs of real and imaginary parts, (2 K + 2, N)."""
        low = self.largest + 1
        cosine, sine = self._waves[:, :low], self._waves[:, low:]
        sine = torch.cat([torch.zeros_like(sine[:, :1]), sine], 1)
        pairs = torch.stack([cosine * self.weight, -sine * self.weight], -1)
        return pairs.flatten(1).T.contiguous()

    @cached_property
    def _back(self) -> Tensor:
        """Cosine and sine sums from points along x or y, (M, N); each is divided by N."""
        return (self._waves.T / self.points).contiguous()

    @cached_property
    def _back_z(self) -> Tensor:
        """Pairs of real and imaginary parts from points along z, (N, 2 K + 2)."""
        return (
            self._waves_z / self.weight.repeat_interleave(2)[:, None] / self.points
        ).T.contiguous()

    def slabs(self, modes: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The fields on the points, a few planes of constant x at a time.

        Args:
            modes: (kx, B, F, ky, kz).

        Yields:
            Which planes, and the fields on them (planes, B, F, N along y, N along z). Their memory
            is used again for the next slab.
        """
        n = self.points
        batch, fields = modes.shape[1:3]
        waves = self._waves_of(self._waves_of(modes, 0), 3)
        pairs = as_pairs(waves)
        along_x = self.buffer("along x", n, pairs[0].numel())
        torch.mm(self._waves, pairs.flatten(1), out=along_x)
        planes = self.planes(batch)
        for first in range(0, n, planes):
            part = along_x[first : first + planes].view(-1, *pairs.shape[3:])
            rows = self.buffer("rows", len(part), n, part.shape[-1])
            torch.bmm(self._waves.expand(len(part), -1, -1), part, out=rows)
            values = self.buffer("values", len(part) * n, n)
            torch.mm(rows.flatten(0, 1), self._waves_z, out=values)
            yield slice(first, first + planes), values.view(-1, batch, fields, n, n)

    def gather(self, slabs: Iterable[tuple[slice, Tensor]], batch: int, fields: int) -> Tensor:
        """The way back.

        Args:
            slabs: Planes of constant x and the fields on them, as `slabs` gives them.
            batch: B.
            fields: F.

        Returns:
            Modes (kx, B, F, ky, kz).
        """
        n, pairs = self.points, 2 * self.largest + 2
        collected = self.buffer("collected", n, batch * fields, self.modes, pairs)
        for planes, values in slabs:
            rows = self.buffer("back", values.numel() // n, pairs)
            torch.mm(values.reshape(-1, n), self._back_z, out=rows)
            rows = rows.view(-1, n, pairs)
            target = collected[planes].view(-1, self.modes, pairs)
            torch.bmm(self._back.expand(len(rows), -1, -1), rows, out=target)
        sums = self.buffer("sums", self.modes, batch, fields, self.modes, pairs)
        torch.mm(self._back, collected.flatten(1), out=sums.flatten(1))
        return self._modes_of(self._modes_of(as_complex(sums), 0), 3)

    def to_points(self, modes: Tensor) -> Tensor:
        """Modes (kx, B, F, ky, kz) -> fields on the points (B, F, N, N, N)."""
        return torch.cat([values.clone() for _, values in self.slabs(modes)]).permute(1, 2, 0, 3, 4)

    def to_modes(self, values: Tensor) -> Tensor:
        """Fields on the points (B, F, N, N, N) -> the modes kept (kx, B, F, ky, kz)."""
        batch, fields = values.shape[:2]
        planes = self.planes(batch)
        parts = (slice(first, first + planes) for first in range(0, self.points, planes))
        slabs = ((part, values[:, :, part].permute(2, 0, 1, 3, 4)) for part in parts)
        return self.gather(slabs, batch, fields)

    def planes(self, batch: int) -> int:
        """How many planes of constant x are worked on at a time."""
        points = SLAB_POINTS if self.device.type == "cpu" else SLAB_POINTS_GPU
        return max(1, min(self.points, points // (batch * self.points**2)))

    def buffer(self, name: str, *shape: int, complex: bool = False) -> Tensor:
        """Memory that is used again: fresh memory costs more than what is written to it.

        What it holds is lost when the same name and shape are asked for again.
        """
        key = (name, complex, *shape)
        if key not in self._buffers:
            dtype = self.complex_dtype if complex else self.dtype
            self._buffers[key] = torch.empty(shape, dtype=dtype, device=self.device)
        return self._buffers[key]

    def _waves_of(self, modes: Tensor, dim: int) -> Tensor:
        """From exp(ikx), 0, 1 ... K, -1 ... -K along `dim`, to cosines 0 ... K and sines 1 ... K.

        a exp(ikx) + b exp(-ikx) = (a + b) cos kx + i (a - b) sin kx. The memory is a buffer's.
        """
        k = self.largest
        waves = self.buffer(f"waves {dim}", *modes.shape, complex=True)
        a, b = modes.narrow(dim, 1, k), modes.narrow(dim, k + 1, k)
        waves.select(dim, 0).copy_(modes.select(dim, 0))
        torch.add(a, b, out=waves.narrow(dim, 1, k))
        torch.sub(a, b, out=waves.narrow(dim, k + 1, k)).mul_(1j)
        return waves

    def _modes_of(self, sums: Tensor, dim: int) -> Tensor:
        """From sums of f cos kx and f sin kx to those of f exp(-ikx), for 0, 1 ... K, -1 ... -K."""
        k = self.largest
        modes = torch.empty_like(sums)
        cosine, sine = sums.narrow(dim, 1, k), sums.narrow(dim, k + 1, k)
        modes.select(dim, 0).copy_(sums.select(dim, 0))
        torch.sub(cosine, sine, alpha=1j, out=modes.narrow(dim, 1, k))
        torch.add(cosine, sine, alpha=1j, out=modes.narrow(dim, k + 1, k))
        return modes


def as_pairs(modes: Tensor) -> Tensor:
    """Complex (..., n) as real (..., 2 n), a view: torch multiplies these by real numbers, while
    it would first make complex numbers of the real factor otherwise."""
    return torch.view_as_real(modes).flatten(-2)


def as_complex(pairs: Tensor) -> Tensor:
    """The way back from `as_pairs`, a view."""
    return torch.view_as_complex(pairs.view(*pairs.shape[:-1], -1, 2))
