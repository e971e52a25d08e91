import torch

from zoo.data.augment import crop_and_flip


def test_every_image_is_a_shifted_and_maybe_mirrored_copy() -> None:
    images = torch.rand(16, 3, 6, 5, generator=torch.Generator().manual_seed(0)) + 0.1
    found = crop_and_flip(images, torch.Generator().manual_seed(1), padding=2)
    assert found.shape == images.shape
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    flips = []
    for image, result in zip(padded, found, strict=True):
        matches = [
            mirrored
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if torch.equal(_crop(image, top, left, mirrored), result)
        ]
        assert len(matches) == 1
        flips += matches
    assert 0 < sum(flips) < 16


def _crop(image: torch.Tensor, top: int, left: int, mirrored: bool) -> torch.Tensor:
    patch = image[:, top : top + 6, left : left + 5]
    return patch.flip(2) if mirrored else patch


def test_the_generator_decides() -> None:
    images = torch.rand(8, 1, 4, 4)
    first, again, other = (
        crop_and_flip(images, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
