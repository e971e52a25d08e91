"""Square attack against closed forms, and query by query against its definition."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from zoo.metrics.robustness import square
from zoo.metrics.square import square_side


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(weight: Tensor, bias: float = 0.0):
    """Logits (bias, w.x): with label 0 the worst case within epsilon adds epsilon * ||w||_1."""

    def predict(images: Tensor) -> Tensor:
        score = images.flatten(1) @ weight.to(images.dtype)
        return torch.stack([torch.full_like(score, bias), score], 1)

    return predict


class Watch:
    """A predict that notes every batch it is asked about, and refuses to record gradients."""

    def __init__(self, predict) -> None:
        self.predict, self.seen = predict, []

    def __call__(self, images: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        self.seen.append(images.clone())
        return self.predict(images)

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.seen]


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 1, 5, 5, generator=generator(2))


def zeros(n: int) -> Tensor:
    return torch.zeros(n, dtype=torch.long)


def test_two_pixels_meet_their_worst_case(images):
    # At opposite corners with opposite signs: stripes and squares of one value do not do.
    weight = torch.zeros(5, 5)
    weight[0, 0], weight[4, 4] = 2, -3
    images[0] = 1
    images[1] = 0
    expected = images.clone()
    expected[:, :, 0, 0] += 0.1
    expected[:, :, 4, 4] -= 0.1
    hard = square(
        linear(weight.flatten(), bias=9.0),
        images,
        zeros(6),
        epsilon=0.1,
        queries=300,
        generator=generator(),
    )
    relevant = weight != 0
    torch.testing.assert_close(hard[:, :, relevant], expected.clamp(0, 1)[:, :, relevant])


def test_a_model_loses_exactly_the_images_within_reach_of_two_pixels():
    inner = 0.3 + 0.4 * torch.rand(60, 1, 5, 5, generator=generator(3))
    weight = torch.zeros(25)
    weight[3], weight[17] = 1, -1
    scores = linear(weight)(inner)[:, 1]
    labels = (scores > 0).long()
    hard = square(linear(weight), inner, labels, epsilon=0.05, queries=300, generator=generator())
    safe = scores.abs() > 0.05 * 2
    assert 0 < safe.sum() < 60
    assert torch.equal(linear(weight)(hard).argmax(1) == labels, safe)


def test_the_side_of_28_pixels_by_hand():
    # sqrt(0.8 * 784 / 2^k) for k = 0, 1, ... 9 halvings.
    sides = [25, 18, 13, 9, 6, 4, 3, 2, 2, 1]
    last = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000, 9999]
    first = [0] + [step + 1 for step in last[:-1]]
    for side, begin, end in zip(sides, first, last, strict=True):
        assert {square_side(step, 10_000, 28, 28) for step in (begin, end)} == {side}


@pytest.mark.parametrize(
    ("step", "steps", "stretched"), [(5, 5000, 10), (6, 5000, 12), (3, 10, 3000)]
)
def test_the_schedule_stretches_to_the_number_of_queries(step, steps, stretched):
    assert square_side(step, steps, 28, 28) == square_side(stretched, 10_000, 28, 28)


def test_the_side_fits_into_every_image():
    assert square_side(0, 100, 4, 100) == 4
    assert square_side(0, 100, 100, 4) == 4
    assert square_side(99, 100, 3, 3) == 1
    assert square_side(0, 100, 10, 10, initial_share=1) == 10


@pytest.mark.parametrize("shape", [(1, 9, 9), (3, 6, 9)])
def test_every_query_is_one_square_at_the_edge_of_the_ball(shape):
    image = torch.rand(1, *shape, generator=generator(4), dtype=torch.float64)
    low, high = (image - 0.2).clamp(min=0), (image + 0.2).clamp(max=1)
    weight = torch.randn(math.prod(shape), generator=generator(5))
    predict = Watch(linear(weight, bias=1e3))
    queries = 120
    hard = square(predict, image, zeros(1), epsilon=0.2, queries=queries, generator=generator())
    clean, best, *rest = predict.seen
    assert torch.equal(clean, image)
    assert len(rest) == queries - 1

    up, down = best == high, best == low
    assert (up | down).all() and up.any() and down.any()
    assert torch.equal(up, up[:, :, :1].expand_as(up)), "vertical stripes"

    places, areas = set(), set()
    for step, query in enumerate(rest):
        side = square_side(step, queries, *shape[1:])
        changed = (query != best)[0]
        assert changed.any()
        rows, columns = (changed.any(0).any(axis).nonzero() for axis in (1, 0))
        assert rows.max() - rows.min() < side and columns.max() - columns.min() < side
        for channel, one in enumerate(changed):
            values = query[0, channel][one]
            assert torch.equal(values, high[0, channel][one]) or torch.equal(
                values, low[0, channel][one]
            )
        places.add((int(rows.min()), int(columns.min())))
        areas.add(side)
        if linear(weight)(query)[0, 1] > linear(weight)(best)[0, 1]:
            best = query
    assert torch.equal(hard, best), "the best query is kept, and nothing else"
    assert len(areas) > 3
    # With side 1, the last row and the last column are reached like all others.
    assert max(row for row, _ in places) == shape[1] - 1
    assert max(column for _, column in places) == shape[2] - 1


def test_images_have_squares_of_their_own(images):
    predict = Watch(linear(torch.zeros(25), bias=2.0))  # nothing is better: all stay at the stripes
    square(predict, images, zeros(6), epsilon=0.1, queries=20, generator=generator())
    _, stripes, *rest = predict.seen
    changed = torch.stack([query != stripes for query in rest])
    assert changed.flatten(2).any(2).all()
    assert not torch.equal(changed[:, 0], changed[:, 1])


def test_images_cost_nothing_once_they_are_wrong(images):
    images = torch.rand(30, 1, 5, 5, generator=generator(6))
    weight = torch.randn(25, generator=generator(7))
    weight -= weight.mean()
    labels = linear(weight)(images).argmax(1)
    labels[:5] = 1 - labels[:5]
    predict = Watch(linear(weight))
    hard = square(predict, images, labels, epsilon=0.05, queries=50, generator=generator())
    assert torch.equal(hard[:5], images[:5])
    assert predict.sizes[:2] == [30, 25]
    assert all(later <= sooner for sooner, later in pairwise(predict.sizes))
    standing = linear(weight)(hard).argmax(1) == labels
    assert 0 < standing.sum() == predict.sizes[-1] < 25
    # Broken images are returned as they were when they fell: nobody has seen them again.
    for image in hard[5:][~standing[5:]]:
        assert sum(bool((batch == image).flatten(1).all(1).any()) for batch in predict.seen) == 1


def test_a_model_that_is_always_wrong_is_asked_once(images):
    predict = Watch(linear(torch.zeros(25), bias=2.0))
    labels = torch.ones(6, dtype=torch.long)
    assert torch.equal(square(predict, images, labels, epsilon=0.1, queries=9), images)
    assert predict.sizes == [6]


def test_an_image_that_no_query_makes_harder_is_returned_as_it_was():
    # The image is the peak of the wrong class.
    peak = torch.full((1, 1, 5, 5), 0.5)

    def hill(images: Tensor) -> Tensor:
        height = -((images - peak) ** 2).flatten(1).sum(1)
        return torch.stack([torch.full_like(height, 2), height], 1)

    assert torch.equal(square(hill, peak, zeros(1), epsilon=0.1, queries=30), peak)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_result_is_in_the_ball_and_a_function_of_the_seed(dtype):
    images = torch.rand(6, 3, 8, 6, generator=generator(8), dtype=dtype)
    copy = images.clone()
    weight = torch.randn(144, generator=generator(9)).requires_grad_(True)

    def attack(seed: int) -> Tensor:
        predict = linear(weight, bias=1e3)
        return square(predict, images, zeros(6), epsilon=0.1, queries=30, generator=generator(seed))

    hard = attack(1)
    assert hard.dtype == dtype and not hard.requires_grad and weight.grad is None
    assert hard.min() >= 0 and hard.max() <= 1
    assert 0.09 < (hard - images).abs().max() <= 0.1 + 1e-6
    assert torch.equal(hard, attack(1)) and not torch.equal(hard, attack(2))
    assert torch.equal(images, copy)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": math.nan}, "epsilon"),
        ({"queries": 0}, "queries"),
        ({"initial_share": 0.0}, "initial_share"),
        ({"initial_share": 1.1}, "initial_share"),
        ({"images": torch.full((2, 1, 5, 5), -0.01)}, r"\[0, 1\]"),
        ({"images": torch.zeros(0, 1, 5, 5), "labels": zeros(0)}, "found none"),
        ({"labels": zeros(3)}, "labels"),
        ({"predict": lambda x: x.flatten(1)[:, :3].softmax(1)}, "softmax"),
        ({"predict": lambda x: x.flatten(1)[:, :3] / 0}, "finite"),
        # Finite on the image, not on the queries.
        (
            {"predict": lambda x: linear(torch.ones(25), 99.0)(x) / (x[:, 0, :1, :1] == 0.5)[:, 0]},
            "finite",
        ),
    ],
)
def test_bad_input_is_refused(change, word):
    arguments = {
        "predict": linear(torch.ones(25), bias=99.0),
        "images": torch.full((2, 1, 5, 5), 0.5),
        "labels": zeros(2),
        "epsilon": 0.1,
        "queries": 2,
    } | change
    with pytest.raises(ValueError, match=word):
        square(**arguments)
