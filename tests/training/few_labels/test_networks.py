"""The networks of the recipes: those of the cards, and of the released code's description."""

import pytest
import torch

from zoo import registry
from zoo.models.dgm import DGM
from zoo.training.few_labels.networks import ALL_CONV_13, all_conv_13, fashion
from zoo.training.settings import SettingsError


@pytest.mark.parametrize(
    ("card", "arguments"), [("dgm-fashion-mnist", fashion()), ("dgm-cifar", all_conv_13())]
)
def test_the_recipes_build_what_the_cards_say(card: str, arguments: dict[str, object]) -> None:
    assert registry.info(card).config == arguments


def test_all_conv_13_is_as_described() -> None:
    """Three convolutions of 128, three of 256, a pool after either; 512 without a border."""
    with torch.device("meta"):
        model = DGM(**all_conv_13())
    assert [shapes.above for shapes in model._shapes] == [
        *((128, 32, 32), (128, 32, 32), (128, 16, 16)),
        *((256, 16, 16), (256, 16, 16), (256, 8, 8)),
        *((512, 6, 6), (256, 6, 6), (128, 6, 6)),
        (10,),
    ]
    inputs = (3, *ALL_CONV_13)
    filters = sum(9 * a * b for a, b in zip(inputs, ALL_CONV_13, strict=False)) + 128 * 10
    units = sum(ALL_CONV_13)
    # A bias, a shift downwards, and the gains up, on the lower path and down; two at each pixel.
    assert sum(p.numel() for p in model.parameters()) == filters + 10 + 5 * units + 2 * 3
    assert [unit.dropout for unit in model.units[:-1]] == [0, 0, 0.5, 0, 0, 0.5, 0, 0, 0]


def test_a_narrow_all_conv_13_renders_images() -> None:
    torch.manual_seed(0)
    model = DGM(**all_conv_13([2] * 9)).eval()
    images = torch.rand(2, 3, 32, 32)
    logits, latents = model.infer(images)
    assert model.render(logits, latents).shape == (2, 3, 32, 32)
    assert [each.positions is not None for each in latents] == [False, False, True] * 2 + [
        False
    ] * 3


@pytest.mark.parametrize("widths", [(16, 32, 32), (16, 32, 32, 0)])
def test_other_numbers_of_widths_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(SettingsError, match="widths: expected 4 positive numbers, found"):
        fashion(widths)
