"""Flows of images: densities against closed forms, inversion, interpolation, bad input."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.linalg import expm
from torch import Tensor, nn

import zoo
from zoo.models import image_cnf
from zoo.models.image_cnf import ImageCNF, bits_per_dimension, slerp
from zoo.odes import hutchinson_divergence

SHAPE = (1, 4, 4)
RK4: dict[str, Any] = {"method": "rk4", "steps": 3}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grey(n: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    """Images with every kind of grey level, black and white among them."""
    levels = torch.randint(256, (n, *shape), generator=seeded(5))
    levels[:, 0, 0, :2] = torch.tensor([0, 255])
    return levels.double() / 255


class Linear(nn.Module):
    """v(t, z) = A z for flattened images."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.matrix.T).view_as(x)


@pytest.fixture
def fresh() -> ImageCNF:
    """A model at its beginning: the flow is the identity."""
    torch.manual_seed(0)
    model = ImageCNF(SHAPE, width=16, blocks=1, alpha=0.01).double().eval()
    model.shift.fill_(-0.7)
    model.scale.fill_(1.6)
    return model


@pytest.fixture
def curved(fresh: ImageCNF) -> ImageCNF:
    """A model with random weights, whose flow bends."""
    for index, (name, parameter) in enumerate(fresh.velocity.named_parameters()):
        noise = torch.randn(parameter.shape, generator=seeded(index), dtype=torch.float64)
        # Gently in time, and not too far from a straight flow, so that few steps do.
        gentle = any(part in name for part in ("film", "time", "head"))
        parameter.data += (0.015 if gentle else 0.08) * noise
    return fresh


def linear(fresh: ImageCNF) -> np.ndarray:
    """Give the model a linear field; return its matrix."""
    matrix = 0.15 * torch.randn(16, 16, generator=seeded(3), dtype=torch.float64)
    fresh.velocity = Linear(matrix)
    return matrix.numpy()


def spread(images: Tensor, alpha: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Dequantised y (B, D) as the model draws them, and their logits."""
    u = torch.rand(images.shape, generator=seeded(seed)).double()
    y = ((255 * images + u) / 256).flatten(1).numpy()
    a = alpha + (1 - 2 * alpha) * y
    return y, np.log(a / (1 - a))


def log_slopes(y: np.ndarray, alpha: float) -> np.ndarray:
    a = alpha + (1 - 2 * alpha) * y
    return np.log((1 - 2 * alpha) / (a * (1 - a))).sum(1)


@pytest.mark.parametrize("trace", ["hutchinson", "exact"])
def test_a_flow_that_does_nothing_has_the_density_of_its_transform(
    fresh: ImageCNF, trace: str
) -> None:
    images = grey(3)
    y, w = spread(images, 0.01)
    # w is normal with mean shift and deviation scale.
    expected = scipy.stats.norm(-0.7, 1.6).logpdf(w).sum(1) + log_slopes(y, 0.01)
    with torch.no_grad():
        found = fresh.likelihood(images, trace=trace, generator=seeded(), method="rk4", steps=12)
    np.testing.assert_allclose(found.log_prob, expected, rtol=1e-5)
    np.testing.assert_allclose(found.noise.flatten(1), (w + 0.7) / 1.6, rtol=1e-5)
    # tr ∂v/∂z = 16 (2t - 1) / (t² + (1 - t)²), odd around t = 1/2
    np.testing.assert_allclose(found.divergence, 0, atol=1e-6)


def test_its_density_integrates_to_one(fresh: ImageCNF) -> None:
    grid = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    # Every pixel has the same density: that of 16 equal ones is its 16th power. Without noise of
    # the dequantisation an image x stands for y = 255 x / 256, up to 255 / 256.
    images = (256 * grid[grid < 255 / 256] / 255)[:, None, None, None].expand(-1, *SHAPE)
    logits, volume = fresh._spread(images, torch.zeros(images.shape))
    z = (logits - fresh.shift) / fresh.scale
    density = (image_cnf.standard_normal(z) + volume - 16 * fresh.scale.log()) / 16
    mass = float(density.exp().sum()) / 20_000
    # The rest is analytic: the normal mass of the logits below and above.
    normal = scipy.stats.norm(-0.7, 1.6)
    low, high = (math.log(a / (1 - a)) for a in (0.01, 0.01 + 0.98 * 255 / 256))
    assert mass == pytest.approx(normal.cdf(high) - normal.cdf(low), abs=1e-4)
    # α leaves a little of the normal mass outside of the images.
    assert 0.98 < mass < 1


def test_a_linear_flow_has_its_closed_form(fresh: ImageCNF) -> None:
    matrix = linear(fresh)
    images = grey(4)
    y, w = spread(images, 0.01)
    noise = (w + 0.7) / 1.6 @ expm(-matrix).T
    normal = scipy.stats.norm.logpdf(noise).sum(1)
    # From noise to data volumes grow by e^{tr A}, so the density falls.
    expected = normal - np.trace(matrix) - 16 * math.log(1.6) + log_slopes(y, 0.01)
    with torch.no_grad():
        exact = fresh.likelihood(images, trace="exact", generator=seeded(), method="rk4", steps=6)
        bits = fresh.bits_per_dimension(
            images, trace="exact", generator=seeded(), method="rk4", steps=6
        )
        rough = fresh.log_prob(images, probes=100, generator=seeded(), method="rk4", steps=4)
    np.testing.assert_allclose(exact.log_prob, expected, rtol=1e-5)
    np.testing.assert_allclose(exact.noise.flatten(1), noise, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bits, 8 - expected / 16 / math.log(2), rtol=1e-5)
    # Of εᵀAε the variance is 2 Σ_{i≠j} S_ij², S = (A + Aᵀ) / 2.
    s = (matrix + matrix.T) / 2
    error = math.sqrt(2 * ((s**2).sum() - (np.diag(s) ** 2).sum()) / 100)
    assert 0.3 > error > 0.01
    assert np.abs(rough.numpy() - expected).max() < 4 * error


def test_the_energy_is_that_of_the_path(fresh: ImageCNF) -> None:
    rate = 0.6
    fresh.velocity = Linear(rate * torch.eye(16, dtype=torch.float64))
    images = grey(2)
    with torch.no_grad():
        found = fresh.likelihood(images, generator=seeded(), rtol=1e-9, atol=1e-9)
    _, w = spread(images, 0.01)
    square = (((w + 0.7) / 1.6) ** 2).sum(1)
    # z(t) = z(1) e^{r (t - 1)}, so ∫ r² |z|² dt = |z(1)|² r (1 - e^{-2r}) / 2.
    expected = square * rate * (1 - math.exp(-2 * rate)) / 2
    np.testing.assert_allclose(found.energy, expected, rtol=1e-6)


def test_a_uniform_model_has_eight_bits() -> None:
    log_prob = torch.tensor([0.0, 784 * math.log(256), -784 * math.log(2)])
    torch.testing.assert_close(bits_per_dimension(log_prob, 784), torch.tensor([8.0, 0.0, 9.0]))


def test_the_trace_of_the_network_is_that_of_its_jacobian(curved: ImageCNF) -> None:
    x = torch.randn(1, *SHAPE, generator=seeded(1), dtype=torch.float64)
    basis = 4 * torch.eye(16, dtype=torch.float64).view(16, 1, *SHAPE)
    for t in (0.05, 0.9):
        time = torch.tensor(t, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(lambda z, s=time: curved.velocity(s, z), x)
        jacobians = jacobian.view(1, 16, 16)
        expected = jacobians.diagonal(dim1=1, dim2=2).sum(1)
        # Probes √D e_i have covariance I: their mean is the trace itself.
        for probes in (basis, None):
            torch.testing.assert_close(curved._rates(time, x, probes)[1], expected)
        _, _, squared = hutchinson_divergence(lambda z, s=time: curved.velocity(s, z), x, basis)
        torch.testing.assert_close(squared, jacobians.square().sum((1, 2)))


def test_the_estimate_of_the_likelihood_is_unbiased(curved: ImageCNF) -> None:
    image, copies = grey(1), 100
    images = image.expand(copies, -1, -1, -1)
    z, volume = curved.latent(image, seeded())
    drawn = torch.randint(0, 2, (1, copies, *SHAPE), generator=seeded(2)).double() * 2 - 1
    solver = curved.solver.but(**RK4)
    with torch.no_grad():
        exact = curved.log_prob(image, trace="exact", generator=seeded(), **RK4)
        z = z.expand_as(images).contiguous()
        found, *_ = curved._likelihood(z, volume.expand(copies), drawn, solver)
    error = found.std() / copies**0.5
    assert float(error) < 0.5
    assert float((found.mean() - exact).abs()) < 4 * error


def test_equal_steps_and_adaptive_ones_agree(curved: ImageCNF) -> None:
    images = grey(3)
    with torch.no_grad():
        adaptive = curved.log_prob(images, generator=seeded(), rtol=1e-6, atol=1e-6)
        assert curved.nfe > 20
        equal = curved.log_prob(images, generator=seeded(), method="rk4", steps=20)
    assert curved.nfe == 80
    torch.testing.assert_close(equal, adaptive, rtol=0, atol=1e-3)


@pytest.mark.parametrize("adjoint", [False, True])
def test_gradients_are_those_of_the_closed_form(fresh: ImageCNF, adjoint: bool) -> None:
    linear(fresh)
    images = grey(2)
    fresh.log_prob(
        images, trace="exact", generator=seeded(), adjoint=adjoint, rtol=1e-7, atol=1e-7
    ).sum().backward()
    matrix = fresh.velocity.matrix.detach().clone().requires_grad_()
    z, _ = fresh.latent(images, seeded())
    noise = z.flatten(1) @ torch.matrix_exp(-matrix).T
    (-0.5 * noise.square().sum() - 2 * matrix.trace()).backward()
    torch.testing.assert_close(fresh.velocity.matrix.grad, matrix.grad, rtol=1e-5, atol=1e-5)


def test_encode_then_decode_gives_the_grey_levels_back(curved: ImageCNF) -> None:
    images = grey(5)
    with torch.no_grad():
        z = curved.encode(images, seeded(), rtol=1e-6, atol=1e-6)
        back = curved.decode(z, rtol=1e-6, atol=1e-6)
    assert z.shape == back.shape == images.shape
    # Half a grey level of dequantisation, and what the solver errs.
    assert float((back - images).abs().max()) < 0.505 / 255
    # Where u is next to 0 or 1 the solver's error may take the level across the middle.
    same = (255 * back).round() == (255 * images).round()
    assert same.double().mean() > 0.95
    # The noise is not the image: the flow did something.
    assert float((z - curved.latent(images, seeded())[0]).abs().max()) > 0.1


def test_batches_and_types_change_nothing(
    curved: ImageCNF, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = grey(5).float()

    def values() -> list[Tensor]:
        with torch.no_grad():
            return [
                curved.log_prob(images, probes=2, generator=seeded(), **RK4),
                curved.encode(images, seeded(), **RK4),
                curved.sample(5, seeded(), **RK4),
            ]

    whole = values()
    assert curved.nfe == 12
    monkeypatch.setattr(image_cnf, "BATCH", 2)
    for found, expected in zip(values(), whole, strict=True):
        torch.testing.assert_close(found, expected)
    curved.float()
    for found, expected in zip(values(), whole, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-3)


def test_samples_are_images_that_the_generator_decides(curved: ImageCNF) -> None:
    images = curved.sample(3, seeded(4), **RK4)
    assert images.shape == (3, *SHAPE)
    assert 0 <= float(images.min()) < float(images.max()) <= 1
    assert torch.equal(images, curved.sample(3, seeded(4), **RK4))
    assert not torch.equal(images, curved.sample(3, seeded(5), **RK4))
    z = torch.randn(3, *SHAPE, generator=seeded(4))
    torch.testing.assert_close(images, curved.decode(z, **RK4).detach())


def test_the_trajectory_goes_from_noise_to_image(curved: ImageCNF) -> None:
    z = torch.randn(2, *SHAPE, generator=seeded(4), dtype=torch.float64)
    with torch.no_grad():
        path = curved.trajectory(z, torch.linspace(0, 1, 5), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(
            path[-1], curved.decode(z, rtol=1e-6, atol=1e-6), atol=1e-4, rtol=0
        )
    assert path.shape == (5, 2, *SHAPE)
    y = (torch.sigmoid(-0.7 + 1.6 * z) - 0.01) / 0.98
    torch.testing.assert_close(path[0], ((256 * y - 0.5) / 255).clamp(0, 1))


def test_interpolation_begins_and_ends_at_the_images(curved: ImageCNF) -> None:
    a, b = grey(4).chunk(2)
    with torch.no_grad():
        between = curved.interpolate(a, b, 5, seeded(), rtol=1e-6, atol=1e-6)
    assert between.shape == (5, 2, *SHAPE)
    for end, images in ((between[0], a), (between[-1], b)):
        assert float((end - images).abs().max()) < 0.6 / 255
    # The middle is decoded from the middle of the arc.
    with torch.no_grad():
        first, last = curved.encode(torch.cat([a, b]), seeded(), rtol=1e-6, atol=1e-6).chunk(2)
        middle = curved.decode(slerp(first, last, torch.tensor([0.5]))[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(between[2], middle, rtol=0, atol=1e-4)


def test_great_circles() -> None:
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    shares = torch.tensor([0.0, 1 / 3, 1.0])
    expected = torch.tensor([[2.0, 0.0], [3**0.5, 1.0], [0.0, 2.0]])[:, None]
    torch.testing.assert_close(slerp(a, b, shares), expected)
    torch.testing.assert_close(slerp(a, 2 * a, shares), a * (1 + shares[:, None, None]))


def test_standardised_logits_have_mean_zero_and_deviation_one() -> None:
    model = ImageCNF((1, 8, 8), width=16, blocks=1)
    images = grey(64, (1, 8, 8)).float()
    z, _ = model.standardise(images, seeded()).latent(images, seeded())
    assert float(z.mean()) == pytest.approx(0, abs=1e-5)
    assert float(z.std()) == pytest.approx(1, abs=1e-5)


def test_bright_pixels_keep_their_digits() -> None:
    """In float32 1 - a has no digits left where a logit is near its largest."""
    model = ImageCNF(SHAPE, width=16, blocks=1)
    double = ImageCNF(SHAPE, width=16, blocks=1).double()
    for level in (0.0, 1.0):
        images = torch.full((50, *SHAPE), level)
        (z, volume), (exact, slopes) = (m.latent(images, seeded()) for m in (model, double))
        torch.testing.assert_close(z.double(), exact, rtol=1e-5, atol=0)
        torch.testing.assert_close(volume.double(), slopes, rtol=1e-5, atol=0)


def test_the_card_builds_it() -> None:
    model = zoo.create("cnf-fashion-mnist")
    assert model.event_shape == model.image_shape == (1, 28, 28)
    assert sum(parameter.numel() for parameter in model.parameters()) == 549_076
    assert zoo.create("cnf-fashion-mnist", device="meta").shift.is_meta


BAD: list[tuple[Callable[[ImageCNF], Any], str]] = [
    (lambda m: m.log_prob(torch.rand(2, 1, 8, 8)), r"expected images of shape \(B, 1, 4, 4\)"),
    (lambda m: m.log_prob(torch.rand(0, *SHAPE)), "empty batch"),
    (lambda m: m.log_prob(torch.full((1, *SHAPE), math.nan)), r"found \[nan, nan\]"),
    (lambda m: m.log_prob(2 * torch.ones(1, *SHAPE)), r"values in \[0, 1\]"),
    (lambda m: m.log_prob(torch.zeros(1, *SHAPE, dtype=torch.uint8)), "float"),
    (lambda m: m.log_prob(torch.rand(1, *SHAPE), probes=0), "probes: expected at least 1"),
    (lambda m: m.log_prob(torch.rand(1, *SHAPE), trace="none"), "trace: expected"),
    (lambda m: m.log_prob(torch.rand(1, *SHAPE), rtol=0.0), "rtol: expected a tolerance above 0"),
    (lambda m: m.log_prob(torch.rand(1, *SHAPE), method="rk4"), "steps: rk4"),
    (lambda m: m.encode(torch.rand(0, *SHAPE)), "empty batch"),
    (lambda m: m.decode(torch.rand(1, 4, 4)), "z: expected floating point"),
    (lambda m: m.decode(torch.full((2, *SHAPE), math.inf)), "NaN or inf in 2 of 2"),
    (lambda m: m.trajectory(torch.rand(1, *SHAPE), (0.0, 1.5)), "times: expected times from 0"),
    (lambda m: m.trajectory(torch.rand(1, *SHAPE), (0.0, 0.0)), "times: expected strictly"),
    (lambda m: m.sample(0), "n: expected at least 1"),
    (lambda m: m.interpolate(torch.rand(1, *SHAPE), torch.rand(1, *SHAPE), 1), "steps: expected"),
    (lambda m: m.interpolate(torch.rand(1, *SHAPE), torch.rand(2, *SHAPE)), "as many images"),
    (lambda m: ImageCNF((1, 6, 8)), "multiples of 4"),
    (lambda m: ImageCNF((28, 28)), "image_shape: expected"),
    (lambda m: ImageCNF(alpha=0.5), "alpha: expected"),
    (lambda m: ImageCNF(width=20), "width: expected"),
]


@pytest.mark.parametrize(("call", "expected"), BAD)
def test_bad_input_is_refused(
    fresh: ImageCNF, call: Callable[[ImageCNF], Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        call(fresh)
