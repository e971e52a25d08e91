"""Golden tensors of models with factors: what they hold, what they see, and how small they are."""

import copy

import pytest
import torch
from safetensors.torch import save
from torch import nn

from zoo import golden
from zoo.models.disentangled_style_gan import DisentangledStyleGAN
from zoo.models.factor_encoder import FactorEncoder
from zoo.models.factors import Factor
from zoo.models.fine_style_gan import FineStyleGAN

FACTORS = (Factor("shape", 3, "what it is", categorical=True), Factor("wall", 4, "its colour"))
SMALL = {
    "image_size": 64,
    "latent_dim": 8,
    "style_dim": 8,
    "mapping_layers": 2,
    "channels": [8, 8, 8, 4, 4],
    "features": 8,
}
MODELS = {
    "reader": (lambda: FactorEncoder(factors=FACTORS, widths=(4, 4)), "factor-prediction"),
    "painter": (lambda: DisentangledStyleGAN(FACTORS, **SMALL), "controllable-generation"),
    "plain": (lambda: DisentangledStyleGAN([], **SMALL), "controllable-generation"),
    "editor": (lambda: FineStyleGAN(FACTORS, **SMALL), "controllable-generation"),
}
NAMES = {
    "reader": {"input.images", "output.codes"},
    "painter": {"input.z", "input.codes", "output.pooled", "output.codes"},
    "plain": {"input.z", "input.codes", "output.pooled"},
    "editor": {"input.images", "input.z", "input.codes", "output.pooled", "output.codes"},
}


def build(name: str) -> tuple[nn.Module, str]:
    torch.manual_seed(0)
    make, task = MODELS[name]
    model = make()
    if name in ("painter", "plain"):
        # Where a training begins it is 1 everywhere, and instance norm makes much of its rounding.
        nn.init.normal_(model.generator.synthesis.constant)
    return model.eval(), task


@pytest.mark.parametrize("name", MODELS)
def test_they_are_small_files_of_inputs_and_outputs_that_the_model_gives(name: str) -> None:
    model, task = build(name)
    tensors = golden.make(model, task)
    assert tensors.keys() == NAMES[name]
    assert all(len(each) == 4 and each.dtype == torch.float32 for each in tensors.values())
    assert len(save(tensors)) < 60_000
    for difference in golden.compare(model, task, tensors).values():
        assert difference <= golden.tolerance(model, task)


@pytest.mark.parametrize("name", ["reader", "painter", "editor"])
def test_a_weight_that_moves_is_seen(name: str) -> None:
    model, task = build(name)
    tensors = golden.make(model, task)
    for parameter in (p for p in model.parameters() if p.dim() > 1):
        moved = copy.deepcopy(parameter.data)
        with torch.no_grad():
            parameter.mul_(1.2)
        seen = max(golden.compare(model, task, tensors).values())
        parameter.data.copy_(moved)
        if seen > golden.tolerance(model, task):
            return
    pytest.fail("no weight makes a difference")


def test_the_size_of_the_images_is_the_models_and_edits_see_what_is_stored() -> None:
    model, task = build("editor")
    tensors = golden.make(model, task)
    assert tensors["input.images"].shape == (4, 3, 16, 16)
    codes, z = tensors["input.codes"], tensors["input.z"]
    images = tensors["input.images"].repeat_interleave(4, 2).repeat_interleave(4, 3)
    with torch.no_grad():
        edited = model(images, z, codes)
    pooled = edited.unflatten(3, (16, 4)).unflatten(2, (16, 4)).mean((3, 5))
    torch.testing.assert_close(pooled, tensors["output.pooled"], rtol=0, atol=1e-4)
