import pytest
import torch

from zoo.data import CORRUPTIONS, corrupt, corrupt_randomly
from zoo.data.corruptions import Corruption

KINDS = list(CORRUPTIONS)
EVERY = [(kind, severity) for kind in KINDS for severity in range(1, 6)]


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 2, 28, 28, generator=torch.Generator().manual_seed(0))


def error(corrupted: torch.Tensor, images: torch.Tensor) -> float:
    return float((corrupted - images).square().mean())


@pytest.mark.parametrize(("kind", "severity"), EVERY)
def test_the_result_has_the_same_form_and_lies_in_zero_to_one(images, kind, severity):
    before = images.clone()
    result = corrupt(images, kind, severity)
    assert result.shape == images.shape and result.dtype == images.dtype
    assert result.min() >= 0 and result.max() <= 1
    assert error(result, images) > 1e-3
    assert torch.equal(images, before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_severity_changes_more(images, kind):
    errors = [error(corrupt(images, kind, severity), images) for severity in range(1, 6)]
    assert errors == sorted(errors) and len(set(errors)) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_corrupted_alike_in_any_batch(images, kind):
    whole = corrupt(images, kind, 2, seed=3)
    parts = [corrupt(images[i : i + 1], kind, 2, seed=3, indices=[i]) for i in range(6)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-6)
    shuffled = [4, 0, 5]
    torch.testing.assert_close(
        corrupt(images[shuffled], kind, 2, seed=3, indices=shuffled),
        whole[shuffled],
        rtol=0,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "kind", sorted(CORRUPTIONS.keys() - {"blur", "pixelate", "contrast", "brightness"})
)
def test_seed_and_index_choose_the_random_part(images, kind):
    same = images[:1].expand(2, -1, -1, -1)
    first, second = corrupt(same, kind, 2, seed=0)
    assert not torch.equal(first, second)
    assert torch.equal(first, corrupt(same, kind, 2, seed=0)[0])
    assert not torch.equal(first, corrupt(same, kind, 2, seed=1)[0])


def test_the_global_random_state_is_neither_used_nor_changed(images):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = corrupt(images, "noise", 1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(corrupt(images, "noise", 1), first)


@pytest.mark.parametrize("severity", [1, 2])
def test_noise_has_the_stated_standard_deviation(severity):
    grey = torch.full((20, 1, 28, 28), 0.5)
    noise = corrupt(grey, "noise", severity) - 0.5
    assert noise.std() == pytest.approx(0.1 * severity, rel=0.03)
    assert abs(noise.mean()) < 0.005 * severity


def test_stronger_noise_is_the_same_noise_scaled():
    grey = torch.full((2, 1, 8, 8), 0.5)
    mild, strong = (corrupt(grey, "noise", severity) - 0.5 for severity in (1, 2))
    inside = strong.abs() < 0.5
    torch.testing.assert_close(strong[inside], 2 * mild[inside])


def test_blur_spreads_a_point_by_the_stated_standard_deviation():
    point = torch.zeros(1, 1, 41, 41)
    point[..., 20, 20] = 1
    for severity, sigma in enumerate(CORRUPTIONS["blur"].strengths, 1):
        spread = corrupt(point, "blur", severity)[0, 0]
        assert spread.sum() == pytest.approx(1, abs=1e-4)
        offsets = torch.arange(41.0) - 20
        for profile in (spread.sum(0), spread.sum(1)):
            assert (profile * offsets).sum() == pytest.approx(0, abs=1e-4)
            assert (profile * offsets**2).sum().sqrt() == pytest.approx(sigma, rel=0.03)


def test_blur_leaves_a_constant_image_constant():
    constant = torch.full((1, 1, 28, 28), 0.7)
    torch.testing.assert_close(corrupt(constant, "blur", 5), constant)


@pytest.mark.parametrize(("severity", "side"), [(1, 6), (2, 8), (3, 11), (4, 14), (5, 17)])
def test_occlusion_hides_one_square_of_the_stated_side(severity, side):
    white = torch.ones(40, 3, 28, 28)
    result = corrupt(white, "occlusion", severity)
    for image in result:
        rows, columns = (image[0] == 0.5).nonzero(as_tuple=True)
        assert len(rows) == side**2
        assert rows.max() - rows.min() == columns.max() - columns.min() == side - 1
        assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])
    assert len({tuple((image[0] == 0.5).nonzero()[0].tolist()) for image in result}) > 20


def test_every_pixel_can_be_hidden():
    result = corrupt(torch.ones(600, 1, 5, 5), "occlusion", 2)
    assert (result == 0.5).any(0).all()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("fog", 1), "noise, blur, occlusion"),
        (("noise", 0), "1 to 5"),
        (("noise", 6), "1 to 5"),
    ],
)
def test_an_unknown_kind_or_severity_is_refused(images, arguments, word):
    with pytest.raises(ValueError, match=word):
        corrupt(images, *arguments)


@pytest.mark.parametrize(
    "wrong",
    [
        torch.full((1, 1, 4, 4), 1.1),
        torch.full((1, 1, 4, 4), -0.1),
        torch.full((1, 1, 4, 4), float("nan")),
        torch.zeros(1, 1, 4, 4, dtype=torch.uint8),
        torch.zeros(1, 4, 4),
        torch.zeros(0, 1, 4, 4),
    ],
)
def test_images_of_the_wrong_form_are_refused(wrong):
    with pytest.raises(ValueError, match="images"):
        corrupt(wrong, "noise", 1)


def test_as_many_indices_as_images_are_needed(images):
    with pytest.raises(ValueError, match="index per image"):
        corrupt(images, "noise", 1, indices=[0, 1])


def test_what_cards_were_measured_on_never_changes():
    grey = torch.full((3, 1, 28, 28), 0.25)
    noise = corrupt(grey, "noise", 1)[2, 0, 14, :4]
    expected = torch.tensor([0.2247400, 0.2746168, 0.2153942, 0.1616482])
    torch.testing.assert_close(noise, expected, rtol=0, atol=1e-6)
    corners = [(image[0] == 0.5).nonzero()[0].tolist() for image in corrupt(grey, "occlusion", 3)]
    assert corners == [[11, 3], [12, 3], [3, 4]]


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_different_strengths_are_corrupted_as_each_alone(images, kind):
    corruption = CORRUPTIONS[kind]
    drawn = corruption.draw(6, images.shape[1:], torch.Generator().manual_seed(0))
    least, most = corruption.mildest, corruption.strengths[-1]
    strengths = torch.linspace(least, most, 7, dtype=torch.float64)[1:]
    together = corruption.apply(images, drawn, strengths)
    for i, strength in enumerate(strengths):
        alone = corruption.apply(images[i : i + 1], drawn[i : i + 1], strength)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", sorted(CORRUPTIONS.keys() - {"shot"}))
def test_random_corruption_begins_at_nothing(images, kind):
    corruption = CORRUPTIONS[kind]
    drawn = corruption.draw(6, images.shape[1:], torch.Generator().manual_seed(0))
    mildest = torch.full((6,), corruption.mildest, dtype=torch.float64)
    torch.testing.assert_close(corruption.apply(images, drawn, mildest), images)


@pytest.fixture
def labelled(monkeypatch) -> None:
    """Two kinds that turn an image into their number, plus a tenth of the strength."""

    def kind(number: float) -> Corruption:
        def apply(images, drawn, strength):
            return (number + 0.1 * strength.view(-1, 1, 1, 1)).expand(images.shape).to(images)

        return Corruption(CORRUPTIONS["blur"].draw, apply, (0.1, 0.2, 0.5, 0.8, 1.0), "none")

    monkeypatch.setattr("zoo.data.corruptions.CORRUPTIONS", {"a": kind(0.2), "b": kind(0.6)})


def test_random_kinds_and_strengths_are_uniform(labelled):
    zeros = torch.zeros(10_000, 1, 1, 1)
    result = corrupt_randomly(
        zeros, torch.Generator().manual_seed(0), ("a", "b"), clean=0.2, severity=4
    ).flatten()
    # Three standard errors of a share of 10,000 are at most 0.015.
    assert (result == 0).double().mean() == pytest.approx(0.2, abs=0.015)
    assert ((result >= 0.2) & (result < 0.4)).double().mean() == pytest.approx(0.4, abs=0.015)
    for number in (0.2, 0.6):
        strengths = 10 * (result[(result >= number) & (result < number + 0.2)] - number)
        assert strengths.max() <= 0.8 + 1e-5
        quartiles = strengths.quantile(torch.tensor([0.25, 0.5, 0.75]))
        torch.testing.assert_close(quartiles, torch.tensor([0.2, 0.4, 0.6]), rtol=0, atol=0.03)


def test_random_corruption_depends_on_the_generator_alone(images):
    torch.manual_seed(1)
    before, state = images.clone(), torch.get_rng_state()
    first = corrupt_randomly(images, torch.Generator().manual_seed(5), KINDS)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(images, before)
    assert torch.equal(first, corrupt_randomly(images, torch.Generator().manual_seed(5), KINDS))
    assert not torch.equal(first, corrupt_randomly(images, torch.Generator().manual_seed(6), KINDS))
    assert first.shape == images.shape and first.dtype == images.dtype
    assert first.min() >= 0 and first.max() <= 1


def test_clean_is_a_probability_at_both_ends(images):
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(corrupt_randomly(images, generator, clean=1), images)
    changed = corrupt_randomly(images, generator, ("noise",), clean=0) != images
    assert changed.flatten(1).any(1).all()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"kinds": ()}, "at least one"),
        ({"kinds": ("fog",)}, "fog"),
        ({"severity": 6}, "1 to 5"),
        ({"clean": 1.5}, "probability"),
        ({"clean": float("nan")}, "probability"),
    ],
)
def test_random_corruption_refuses_wrong_options(images, options, word):
    with pytest.raises(ValueError, match=word):
        corrupt_randomly(images, torch.Generator(), **options)
