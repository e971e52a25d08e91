"""Auto-PGD and the Square attack beside the authors' own code, the package pyautoattack.

The random draws differ, so an image at the edge may fall to one and stand against the other: of the
images that are attacked, the numbers that stand may differ by `EDGE`.
"""

import pytest
import torch
from pyautoattack.autopgd_base import APGDAttack
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

import zoo
from zoo.data import as_float
from zoo.data.fashion_mnist import fashion_mnist_sample
from zoo.metrics.apgd import checkpoints, dlr
from zoo.metrics.robustness import apgd, square
from zoo.metrics.square import square_side

pytestmark = pytest.mark.filterwarnings("ignore:there are .* points with zero gradient")

EDGE = 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def standing(model: nn.Module, images: Tensor, labels: Tensor) -> int:
    with torch.no_grad():
        return int((model(images).argmax(1) == labels).sum())


def by_both(
    model: nn.Module, images: Tensor, labels: Tensor, attack: str, epsilon: float, budget: int
) -> tuple[int, int]:
    """How many images stand after our attack, and after theirs."""
    if attack == "square":
        ours = square(model, images, labels, epsilon=epsilon, queries=budget, generator=generator())
        # The stripes are not among their queries.
        theirs = SquareAttack(model, n_queries=budget - 1, eps=epsilon)
    else:
        ours = apgd(
            model,
            images,
            labels,
            epsilon=epsilon,
            steps=budget,
            loss=attack,
            generator=generator(),
        )
        theirs = APGDAttack(model, n_iter=budget, eps=epsilon, loss=attack)
    with torch.random.fork_rng():  # they seed the global generator
        found = theirs.perturb(images.clone(), labels)
    return standing(model, ours, labels), standing(model, found, labels)


@pytest.fixture(scope="module")
def small() -> nn.Module:
    """A random network of two convolutions on 12 x 12 images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (
            nn.Conv2d(2, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(200, 5),
        )
    return nn.Sequential(*layers).requires_grad_(False)


@pytest.mark.parametrize(("attack", "budget"), [("ce", 40), ("dlr", 40), ("square", 250)])
def test_as_many_images_of_a_random_network_stand(small, attack, budget):
    images = torch.rand(60, 2, 12, 12, generator=generator(1))
    labels = small(images).argmax(1)
    ours, theirs = by_both(small, images, labels, attack, 0.02, budget)
    assert 10 <= theirs <= 50
    assert abs(ours - theirs) <= EDGE


@pytest.mark.parametrize(
    ("attack", "epsilon", "budget"), [("ce", 0.2, 8), ("dlr", 0.2, 8), ("square", 0.3, 20)]
)
def test_as_many_images_of_cnn_robust_stand(robust, attack, epsilon, budget):
    ours, theirs = by_both(*robust, attack, epsilon, budget)
    assert theirs <= standing(*robust) - 5
    assert abs(ours - theirs) <= EDGE


@pytest.fixture(scope="module")
def robust() -> tuple[nn.Module, Tensor, Tensor]:
    """The adversarially trained CNN and 30 images."""
    sample = fashion_mnist_sample().head(30)
    return zoo.create("cnn-robust", pretrained=True), as_float(sample.images), sample.labels


def test_dlr_is_the_same_function():
    logits = torch.randn(50, 7, generator=generator(2), dtype=torch.float64)
    labels = torch.arange(50) % 7
    torch.testing.assert_close(
        dlr(logits, labels), APGDAttack(None, eps=0.1).dlr_loss(logits, labels)
    )


def test_checkpoints_of_a_hundred_steps_are_the_same():
    # They count in whole steps, which is the same where the hundredths of the paper are steps.
    attack = APGDAttack(None, n_iter=100, eps=0.1)
    ends, gap = [0], attack.n_iter_2
    while ends[-1] + gap < 100:
        ends.append(ends[-1] + gap)
        gap = max(gap - attack.size_decr, attack.n_iter_min)
    assert checkpoints(100) == tuple(ends)


def test_squares_have_the_same_sides():
    attack = SquareAttack(None, n_queries=5000, eps=0.1)
    for step in range(5000):
        side = max(round((attack.p_selection(step) * 28 * 28) ** 0.5), 1)
        assert square_side(step, 5000, 28, 28) == side
