"""Losses of the disentangled StyleGAN against closed forms."""

import math

import pytest
import torch
from torch import Tensor

from zoo.models.codes import Layout
from zoo.models.factors import Factor
from zoo.training.disentangled.losses import code_error, deceive, discriminate, mix, r1_penalty

ORDINAL = Layout([Factor("a", 4, ""), Factor("b", 5, "")])
BOTH = Layout([Factor("a", 4, ""), Factor("shape", 3, "", True), Factor("b", 5, "")])


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_r1_of_a_linear_score() -> None:
    # D(x) = <a, x> has the gradient a everywhere: weight / 2 · |a|².
    a, images = draw(1, 3, 4, 4), draw(6, 3, 4, 4, seed=1).requires_grad_()
    penalty = r1_penalty(images, (a * images).sum((1, 2, 3)), weight=10.0)
    torch.testing.assert_close(penalty, 5 * a.square().sum())


def test_r1_can_be_differentiated() -> None:
    # D(x) = s |x|² / 2: the penalty is weight / 2 · s² |x|², its derivative weight · s |x|².
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    images = draw(5, 1, 2, 2).requires_grad_()
    logits = scale * images.square().sum((1, 2, 3)) / 2
    penalty = r1_penalty(images, logits, weight=3.0)
    (slope,) = torch.autograd.grad(penalty, scale)
    square = images.detach().square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(slope, 3 * 0.7 * square)


def test_the_adversarial_losses() -> None:
    real, fake = draw(7), draw(7, seed=1)
    expected = (1 + (-real).exp()).log().mean() + (1 + fake.exp()).log().mean()
    torch.testing.assert_close(discriminate(real, fake), expected)
    torch.testing.assert_close(deceive(fake), (1 + (-fake).exp()).log().mean())
    assert discriminate(torch.zeros(3), torch.zeros(3)).item() == pytest.approx(2 * math.log(2))


def test_the_error_of_ordinal_codes_is_a_norm_not_squared() -> None:
    raw = torch.tensor([[0.3, 0.4], [1.0, 1.0]])
    codes = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    assert code_error(raw, codes, ORDINAL).item() == pytest.approx(0.25, abs=1e-5)


def test_where_an_ordinal_code_is_right_there_is_no_slope() -> None:
    raw = torch.tensor([[0.5, 0.25]], requires_grad=True)
    code_error(raw, raw.detach().clone(), ORDINAL).backward()
    assert raw.grad is not None
    assert torch.equal(raw.grad, torch.zeros(1, 2))


def test_the_error_of_a_categorical_code_is_its_cross_entropy() -> None:
    raw, codes = draw(6, 5), torch.zeros(6, 5, dtype=torch.float64)
    # Mixtures of two kinds.
    codes[:, 1], codes[:, 3] = 0.25, 0.75
    ordinal = (raw[:, [0, 4]] - codes[:, [0, 4]]).norm(dim=1)
    logs = raw[:, 1:4] - raw[:, 1:4].exp().sum(1, keepdim=True).log()
    expected = (ordinal - 0.25 * logs[:, 0] - 0.75 * logs[:, 2]).mean()
    torch.testing.assert_close(code_error(raw, codes, BOTH), expected)


def test_gradients_of_the_losses() -> None:
    codes = torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    raw, logits = draw(3, 5).requires_grad_(), draw(2, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: code_error(x, codes, BOTH), raw)
    assert torch.autograd.gradcheck(lambda x: discriminate(*x) + deceive(x[0]), logits)
    images = draw(2, 1, 2, 2, seed=2).requires_grad_()

    def penalty(x: Tensor) -> Tensor:
        return r1_penalty(x, x.pow(3).sum((1, 2, 3)), 2.0)

    assert torch.autograd.gradcheck(penalty, images)


def test_mixtures_of_images_and_codes() -> None:
    images, codes = draw(4, 3, 2, 2), draw(4, 5, seed=1)
    pairs, share = torch.tensor([[3, 0], [1, 2]]), torch.tensor([0.25, 1.0], dtype=torch.float64)
    mixed, between = mix(images, codes, pairs, share)
    torch.testing.assert_close(mixed[0], 0.25 * images[3] + 0.75 * images[1])
    torch.testing.assert_close(between[0], 0.25 * codes[3] + 0.75 * codes[1])
    torch.testing.assert_close(mixed[1], images[0])
    torch.testing.assert_close(between[1], codes[0])
