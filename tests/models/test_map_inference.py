"""Inference in the deconvolutional generative model is MAP: brute force over all latents."""

import numpy as np
import pytest
import torch

from tests.models.every_latent import CLASSES, IMAGE_SHAPE, LAYERS, Enumeration
from zoo.models.dgm import DGM


def tiny(seed: int, *, leak: float, negative: bool = False) -> DGM:
    """A model that can be enumerated; what is rendered of its upper layers is not negative."""
    torch.manual_seed(seed)
    model = DGM(
        image_shape=IMAGE_SHAPE,
        layers=LAYERS,
        num_classes=CLASSES,
        normalisation="none",
        leak=leak,
        mean=(0.5,),
        std=(0.25,),
    ).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_()
            if not negative and name in ("units.1.weight", "units.2.weight"):
                parameter.abs_()
    return model.eval()


def enumerated(model: DGM, leak: float) -> list[Enumeration]:
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    return [Enumeration(weights, leak, label) for label in range(CLASSES)]


@pytest.mark.parametrize("leak", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_inference_is_the_map_over_all_latents(seed: int, leak: float) -> None:
    """logit(y) = log π(y) + max over all 16,384 z of ⟨x, h(0)⟩ + η(y, z); `lower`: the minimum."""
    model = tiny(seed, leak=leak)
    image = torch.rand(1, *IMAGE_SHAPE, dtype=torch.float64)
    seen = model.normalised(image)
    logits, latents = model.infer(image)
    least = model.lower(image)
    (cells, positions), (upper, none) = latents
    assert none is None
    for label, every in enumerate(enumerated(model, leak)):
        scores = every.scores(seen[0, 0].numpy())
        assert len(scores) == 4 * 8**4
        bias = model.units[2].bias[label].item()
        assert logits[0, label].item() == pytest.approx(scores.max() + bias, abs=1e-12)
        assert least[0, label].item() == pytest.approx(scores.min() + bias, abs=1e-12)
        # The inferred latents are those that score most.
        index = int(scores.argmax())
        offsets = positions[0, 0].flatten()
        chosen = cells[0, 0].flatten()[offsets]
        found = (offsets.tolist(), chosen.tolist(), upper[0].flatten().tolist())
        assert found == every.latents(index)
        # What is rendered with them, and its prior, are those of the brute force.
        labels = torch.tensor([label])
        rendered = model.descend(model.one_hot(labels), model._states(labels, latents))
        np.testing.assert_allclose(
            rendered[-1].below[0, 0].detach(), every.renderings[index], atol=1e-12
        )
        prior = model.log_prior(latents, labels)
        assert prior.item() == pytest.approx(every.priors[index], abs=1e-12)


@pytest.mark.parametrize("leak", [0.0, 0.1])
def test_the_peak_of_the_prior_is_its_largest_value(leak: float) -> None:
    model = tiny(5, leak=leak)
    peak = model.prior_peak()
    for label, every in enumerate(enumerated(model, leak)):
        assert peak[label].item() == pytest.approx(every.priors.max(), abs=1e-12)
    # The inference of an image of zeros finds it: there is only the prior to agree with.
    grey = torch.full((1, *IMAGE_SHAPE), 0.5, dtype=torch.float64)
    torch.testing.assert_close(model(grey)[0] - model.units[2].bias, peak, rtol=0, atol=1e-12)


def test_the_theory_needs_what_it_assumes() -> None:
    """With rendered maps below 0 some other latents score more than those of the CNN."""
    missed = 0
    for seed in range(4):
        model = tiny(seed, leak=0.0, negative=True)
        image = torch.rand(1, *IMAGE_SHAPE, dtype=torch.float64)
        seen = model.normalised(image)[0, 0].numpy()
        for label, every in enumerate(enumerated(model, 0.0)):
            best = every.scores(seen).max() + model.units[2].bias[label].item()
            found = model(image)[0, label].item()
            assert found <= best + 1e-12
            missed += found < best - 1e-3
    assert missed > 0
