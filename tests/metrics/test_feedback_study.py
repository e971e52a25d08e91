"""The study of the feedback, on networks whose answers are known."""

import pytest
import torch
from torch import Tensor

from zoo.data import corrupt
from zoo.metrics.feedback_study import information, iterations, main
from zoo.models.cnnf import CNNF


@pytest.fixture
def model() -> CNNF:
    torch.manual_seed(0)
    return CNNF(feedback_to=0, iterations=2).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def test_rows_are_the_model_called_by_hand(model: CNNF, images: Tensor) -> None:
    labels = model(images, 2).argmax(1)
    clean, noisy = iterations(model, images, labels, [("clean", 0), ("noise", 3)], 2)
    assert (clean.input_error, clean.remaining) == (0.0, ())
    assert clean.mean[2] == 1.0
    corrupted = corrupt(images, "noise", 3)
    squared = (corrupted - images).square().mean().item()
    assert noisy.input_error == pytest.approx(squared)
    for k in (1, 2):
        error = (model.reconstruct(corrupted, k) - images).square().mean().item()
        assert noisy.remaining[k - 1] == pytest.approx(error / squared, rel=1e-4)
    trajectory = model.trajectory(corrupted, 2)
    for k, logits in enumerate(trajectory.logits):
        assert noisy.last[k] == (logits.argmax(1) == labels).float().mean()
        assert noisy.mean[k] == (model(corrupted, k).argmax(1) == labels).float().mean()


def test_information_takes_away_what_it_says(model: CNNF, images: Tensor) -> None:
    errors = information(model, images)
    own = (model.reconstruct(images, 1) - images).square().mean().item()
    assert errors["own logits, own latents"] == pytest.approx(own, rel=1e-5)
    # Everything from the next image is the next image's reconstruction.
    shifted = (model.reconstruct(images.roll(-1, 0), 1) - images).square().mean().item()
    both = "own logits, another's latents"
    assert errors[both] != pytest.approx(own, rel=1e-3)
    trajectory = model.trajectory(images, 0)
    swapped = model.render_states(trajectory.logits[0].roll(-1, 0), trajectory.states)
    expected = (swapped - images).square().mean().item()
    assert errors["another's logits, own latents"] == pytest.approx(expected, rel=1e-5)
    assert shifted != pytest.approx(own, rel=1e-3)
    assert errors["mean image"] == pytest.approx(images.var(0, unbiased=False).mean().item())


def test_identical_images_lose_nothing_by_another_s_parts(model: CNNF, images: Tensor) -> None:
    errors = information(model, images[:1].expand(4, -1, -1, -1).contiguous())
    parts = [error for name, error in errors.items() if name != "mean image"]
    assert parts == pytest.approx([parts[0]] * len(parts), rel=1e-5)
    assert errors["mean image"] == pytest.approx(0, abs=1e-12)


def test_command_prints_every_table(capsys: pytest.CaptureFixture) -> None:
    main(["cnnf-robust", "--images", "4", "--iterations", "1"])
    out = capsys.readouterr().out
    assert out.count("| noise 3 |") == 3
    assert "another's logits, own latents" in out
