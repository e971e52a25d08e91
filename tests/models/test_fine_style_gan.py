"""The StyleGAN that edits images: what it keeps, what it changes, what it refuses."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import zoo.models
from zoo.models.factors import Factor
from zoo.models.fine_style_gan import FineStyleGAN
from zoo.models.style_generator import Epilogue

FACTORS = [Factor("light", 4, "from dark to bright"), Factor("wall", 3, "its material", True)]
SMALL = {"latent_dim": 6, "style_dim": 8, "mapping_layers": 2, "features": 10}


@pytest.fixture
def model() -> FineStyleGAN:
    torch.manual_seed(0)
    return FineStyleGAN(FACTORS, 16, coarse_size=8, channels=[6, 6, 4], **SMALL).eval()


def images(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_it_begins_with_the_averaged_image(model: FineStyleGAN) -> None:
    assert model.generator.synthesis.begin == 1
    # Two sizes, 8 and 16, two epilogues each, and no constant.
    epilogues = [each for each in model.generator.modules() if isinstance(each, Epilogue)]
    assert len(epilogues) == 4
    assert not hasattr(model.generator.synthesis, "constant")
    shown = images(2)
    torch.testing.assert_close(model.coarse(shown), F.avg_pool2d(shown, 2))


def test_of_the_image_only_the_average_counts(model: FineStyleGAN) -> None:
    z, codes = torch.zeros(2, 6), model.layout.sample(2, torch.Generator().manual_seed(0))
    shown = images(2)
    # Neighbours swapped: another image, the same averages.
    other = shown.view(2, 3, 8, 2, 8, 2).flip(3, 5).reshape(2, 3, 16, 16)
    assert not torch.equal(shown, other)
    torch.testing.assert_close(model(shown, z, codes), model(other, z, codes))
    assert not torch.allclose(model(shown, z, codes), model(images(2, 1), z, codes))


def test_edit_changes_the_named_codes_and_keeps_the_others(model: FineStyleGAN) -> None:
    shown = images(3)
    read = model.encode(shown)
    asked = read.clone()
    asked[:, 0] = 1.0
    z = torch.zeros(3, 6)
    torch.testing.assert_close(model.edit(shown, light=1.0), model(shown, z, asked))
    asked = read.clone()
    asked[:, 1:] = torch.tensor([0.0, 0.0, 1.0])
    z = torch.ones(3, 6)
    torch.testing.assert_close(model.edit(shown, z, wall=2), model(shown, z, asked))


def test_edited_images_are_images(model: FineStyleGAN) -> None:
    out = model.edit(images(2), light=0.3, wall=0)
    assert out.shape == (2, 3, 16, 16)
    assert 0 <= out.min() < out.max() <= 1
    assert zoo.models.architecture("fine-style-gan") is FineStyleGAN


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ligth": 1.0}, "no factor 'ligth' .did you mean 'light'"),
        ({"light": 1.5}, r"light: expected values in \[0, 1\], found 1.5"),
        ({"wall": 3}, r"wall: expected values in \[0, 2\], found 3"),
        ({"wall": 0.5}, "wall has no order: expected one of 0 ... 2"),
    ],
)
def test_wrong_edits_are_refused(model: FineStyleGAN, values: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        model.edit(images(1), **values)  # type: ignore[arg-type]


def test_wrong_inputs_are_refused(model: FineStyleGAN) -> None:
    codes = model.layout.sample(2)
    with pytest.raises(ValueError, match=r"images of shape \(B, 3, 16, 16\)"):
        model(torch.zeros(2, 3, 32, 32), torch.zeros(2, 6), codes)
    with pytest.raises(ValueError, match="a code for every image, found 2 for 3"):
        model(images(3), torch.zeros(2, 6), codes)
    with pytest.raises(ValueError, match="factors: expected at least one"):
        FineStyleGAN([], 16, coarse_size=8, channels=[6, 6, 4])
    with pytest.raises(ValueError, match=r"coarse_size: expected 4, 8, 16 ... below 16, found 16"):
        FineStyleGAN(FACTORS, 16, coarse_size=16, channels=[6, 6, 4])
