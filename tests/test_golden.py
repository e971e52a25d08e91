"""Golden tensors, and the golden outputs of every published model."""

import copy
import io

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import zoo
from zoo import golden, registry
from zoo.errors import UnknownNameError, WeightsError
from zoo.models.cnnf import CNNF
from zoo.models.dcgan import DCGAN

TASK = "image-classification"
GRAPHS = ("image-classification", "image-generation")
"""Tasks of networks that are one graph; a solver of differential equations decides by values."""
PUBLISHED = [f"{name}.{tag}" for name, card in registry.cards().items() for tag in card.weights]


@pytest.fixture(scope="module")
def model() -> CNNF:
    torch.manual_seed(0)
    return CNNF(iterations=1).eval()


@pytest.fixture(scope="module")
def tensors(model) -> dict[str, torch.Tensor]:
    return golden.make(model, TASK)


def test_golden_tensors_are_inputs_and_outputs_of_a_few_examples(tensors):
    assert tensors.keys() == {"input.images", "output.logits"}
    assert tensors["input.images"].shape == (4, 1, 28, 28)
    assert tensors["output.logits"].shape == (4, 10)
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
    assert tensors["input.images"].min() >= 0 and tensors["input.images"].max() <= 1
    assert len(tensors["input.images"].unique(dim=0)) == 4


def test_making_them_again_gives_the_same_and_leaves_the_model_alone(model, tensors):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    again = golden.make(model, TASK)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_the_model_that_made_them_is_within_the_tolerance(model, tensors):
    (difference,) = golden.compare(model, TASK, tensors).values()
    assert difference <= golden.tolerance(model, TASK)


def test_the_difference_is_seen_when_a_weight_moves(model, tensors):
    moved = copy.deepcopy(model)
    with torch.no_grad():
        next(moved.parameters())[0, 0, 0, 0] += 0.01
    (difference,) = golden.compare(moved, TASK, tensors).values()
    assert difference > golden.tolerance(model, TASK)


def test_the_difference_is_relative_for_large_outputs_and_absolute_for_small_ones(model, tensors):
    logits = tensors["output.logits"]
    shifted = tensors | {"output.logits": logits + 1e-3}
    scale = (logits + 1e-3).abs().max().clamp(min=1)
    (difference,) = golden.compare(model, TASK, shifted).values()
    assert difference == pytest.approx(float(1e-3 / scale), rel=1e-3)
    hundred = tensors | {"output.logits": logits + 100}
    (difference,) = golden.compare(model, TASK, hundred).values()
    assert difference == pytest.approx(100 / float((logits + 100).abs().max()), rel=1e-3)


def test_a_nan_is_never_within_the_tolerance(model, tensors):
    broken = copy.deepcopy(model)
    nn.init.constant_(list(broken.parameters())[-1], float("nan"))
    (difference,) = golden.compare(broken, TASK, tensors).values()
    assert not difference <= golden.tolerance(model, TASK)


def test_outputs_of_another_shape_are_infinitely_far(model, tensors):
    cut = tensors | {"output.logits": tensors["output.logits"][:, :5]}
    assert golden.compare(model, TASK, cut) == {"output.logits": float("inf")}


def test_a_model_that_is_not_finite_has_no_golden_tensors(model):
    broken = copy.deepcopy(model)
    nn.init.constant_(list(broken.parameters())[-1], float("nan"))
    with pytest.raises(WeightsError, match="float64"):
        golden.make(broken, TASK)


@pytest.mark.parametrize("missing", ["input.images", "output.logits"])
def test_a_golden_file_of_another_task_is_refused(model, tensors, missing):
    rest = {name: value for name, value in tensors.items() if name != missing}
    with pytest.raises(WeightsError, match="golden file"):
        golden.compare(model, TASK, rest)


def test_an_unknown_task_is_refused(model):
    with pytest.raises(UnknownNameError, match="image-classification"):
        golden.make(model, "weather")


@pytest.fixture(scope="module")
def gan() -> DCGAN:
    """A generator and a critic with scores of 10⁴, as a training without regularisation has."""
    torch.manual_seed(0)
    model = DCGAN(latent=8, width=8).eval()
    with torch.no_grad():
        for layer in [*model.generator.layers, *model.discriminator.layers]:
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.weight *= 5
        scores = model.discriminator(model.sample(64)).abs().mean()
        model.discriminator.score.weight *= 1e4 / scores
        model.discriminator.score.bias *= 1e4 / scores
    return model


def test_golden_tensors_of_a_generator_are_latent_vectors_images_and_scores(gan):
    tensors = golden.make(gan, "image-generation")
    assert {name: tuple(value.shape) for name, value in tensors.items()} == {
        "input.z": (4, 8),
        "output.images": (4, 3, 32, 32),
        "output.scores": (4,),
    }
    assert len(tensors["input.z"].unique(dim=0)) == 4
    images, scores = tensors["output.images"], tensors["output.scores"]
    assert images.min() >= 0 and images.max() <= 1
    assert 1e3 < scores.abs().max() < 1e5
    torch.testing.assert_close(gan(tensors["input.z"]), images)
    torch.testing.assert_close(gan.discriminator(images), scores, rtol=1e-4, atol=1.0)
    for difference in golden.compare(gan, "image-generation", tensors).values():
        assert difference <= 1e-5  # far within the tolerance


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_a_weight_of_either_player_that_moves_is_seen(gan, player):
    tensors = golden.make(gan, "image-generation")
    moved = copy.deepcopy(gan)
    kernels = [p for p in getattr(moved, player).parameters() if p.dim() == 4]
    with torch.no_grad():
        kernels[1][0, 0, 1, 1] *= 1.1
    differences = golden.compare(moved, "image-generation", tensors)
    assert max(differences.values()) > golden.tolerance(gan, "image-generation")
    if player == "discriminator":
        assert differences["output.images"] <= 1e-6


def test_there_are_published_models():
    assert {"cnnf-robust", "cnn-robust"} <= {name.split(".")[0] for name in PUBLISHED}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_gives_its_golden_outputs_however_it_is_held(name):
    card, tag = registry.find(name)
    tensors = load_file(card.folder / card.weights[tag].golden.file)
    published = zoo.create(name, pretrained=True)
    tolerance = golden.tolerance(published, card.task)
    rebuilt = zoo.create(name)
    rebuilt.load_state_dict(published.state_dict(), strict=True)
    held = {
        "as loaded": published,
        "from its folder": zoo.load(f"local-dir:{card.folder}#{tag}"),
        "copied": copy.deepcopy(published),
        "state dict": rebuilt,
    }
    for how, model in held.items():
        for output, difference in golden.compare(model, card.task, tensors).items():
            assert difference <= tolerance, f"{how}: {output} differs by {difference:.1e}"


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_published_model_gives_its_golden_outputs_in_any_batch(name, batch):
    card, tag = registry.find(name)
    model = zoo.create(name, pretrained=True)
    tensors = load_file(card.folder / card.weights[tag].golden.file)
    n = len(next(iter(tensors.values())))
    for begin in range(0, n, batch):
        part = {key: value[begin : begin + batch] for key, value in tensors.items()}
        for difference in golden.compare(model, card.task, part).values():
            assert difference <= golden.tolerance(model, card.task)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in PUBLISHED if registry.find(n)[0].task in GRAPHS])
def test_a_published_model_survives_export(name):
    card, tag = registry.find(name)
    model = zoo.create(name, pretrained=True)
    tensors = load_file(card.folder / card.weights[tag].golden.file)
    ((_, inputs),) = (item for item in tensors.items() if item[0].startswith("input."))
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(model, (inputs,), dynamic_shapes=shapes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    again = torch.export.load(buffer).module()
    # What `forward` gives is the first of the outputs.
    expected = tensors[next(iter(golden.outputs(model, card.task, tensors)))]
    tolerance = golden.tolerance(model, card.task)
    for n in (1, 3, len(inputs)):
        difference = (again(inputs[:n]) - expected[:n]).abs().max()
        assert difference <= tolerance * expected.abs().max().clamp(min=1)
