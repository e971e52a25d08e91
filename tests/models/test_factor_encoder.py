"""The network that reads factors: its sizes, its formula, and what it refuses."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo import models
from zoo.models.factor_encoder import FactorEncoder
from zoo.models.factors import Factor

FACTORS = (Factor("shape", 3, "what it is", categorical=True), Factor("height", 5, "how high"))


def build(size: int = 16, **changes: object) -> FactorEncoder:
    torch.manual_seed(0)
    arguments = {"widths": (4, 6, 8), "features": 10, "image_size": size, **changes}
    model = FactorEncoder(factors=FACTORS, **arguments).eval()
    for norm in model.norms:
        torch.nn.init.uniform_(norm.running_mean, -0.1, 0.1)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2.0)
        torch.nn.init.uniform_(norm.weight, 0.5, 2.0)
    return model


def images(n: int, size: int = 16, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def by_hand(model: FactorEncoder, x: Tensor) -> Tensor:
    """The features again, in float64, with windows that are cut out one by one."""
    state = {name: value.double() for name, value in model.state_dict().items()}
    x = 2 * x.double() - 1
    for stage in range(3):
        stride = 2 if stage == 0 else 1
        windows = F.pad(x, (1, 1, 1, 1)).unfold(2, 3, stride).unfold(3, 3, stride)
        x = torch.einsum("bchwij,ocij->bohw", windows, state[f"convolutions.{stage}.weight"])
        norm = {name: state[f"norms.{stage}.{name}"].view(-1, 1, 1) for name in NORM}
        x = (x - norm["running_mean"]) / (norm["running_var"] + 1e-5).sqrt()
        x = (x * norm["weight"] + norm["bias"]).clamp(min=0)
        if stage > 0:
            b, c, h, w = x.shape
            x = x.view(b, c, h // 2, 2, w // 2, 2).amax((3, 5))
    x = torch.einsum("bchw,oc->bohw", x, state["narrow.weight"][:, :, 0, 0])
    flat = (x + state["narrow.bias"].view(-1, 1, 1)).clamp(min=0).reshape(len(x), -1)
    return (flat @ state["hidden.weight"].T + state["hidden.bias"]).clamp(min=0)


NORM = ("running_mean", "running_var", "weight", "bias")


def test_features_and_codes_are_those_of_the_formula() -> None:
    model, x = build(), images(3)
    features = by_hand(model, x)
    raw = features @ model.head.weight.double().T + model.head.bias.double()
    with torch.no_grad():
        torch.testing.assert_close(model.features(x).double(), features, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(x).double(), raw, rtol=1e-4, atol=1e-5)
        codes = model.encode(x).double()
    expected = torch.cat([raw[:, :3].softmax(1), raw[:, 3:].clamp(0, 1)], 1)
    torch.testing.assert_close(codes, expected, rtol=1e-4, atol=1e-5)


def test_codes_are_in_range_and_an_image_does_not_see_its_batch() -> None:
    model, x = build(), images(5)
    with torch.no_grad():
        model.head.weight.mul_(50)
        codes = model.encode(x)
        alone = torch.cat([model.encode(each[None]) for each in x])
    assert codes.shape == (5, 4)
    assert codes.min() >= 0 and codes.max() <= 1
    torch.testing.assert_close(codes[:, :3].sum(1), torch.ones(5))
    torch.testing.assert_close(codes, alone, rtol=1e-4, atol=1e-4)


def test_the_default_has_the_size_that_the_card_states() -> None:
    with torch.device("meta"):
        model = FactorEncoder(factors=[factor.to_json() for factor in FACTORS])
    convolutions = 9 * (3 * 32 + 32 * 64 + 64 * 96 + 96 * 128)
    norms, narrow = 2 * (32 + 64 + 96 + 128), 128 * 32 + 32
    hidden, head = 32 * 16 * 256 + 256, 256 * 4 + 4
    total = sum(each.numel() for each in model.parameters())
    assert total == convolutions + norms + narrow + hidden + head
    assert model.factors == FACTORS and model.image_shape == (3, 64, 64)
    assert models.architecture("factor-encoder") is FactorEncoder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 20}, "image_size: expected a multiple of 8, found 20"),
        ({"image_size": 4}, "image_size: expected a multiple of 8, found 4"),
        ({"widths": ()}, "positive numbers of channels"),
        ({"features": 0}, "positive numbers of channels and features, .* features=0"),
    ],
)
def test_arguments_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_a_model_without_factors_is_refused() -> None:
    with pytest.raises(ValueError, match="factors: expected at least one"):
        FactorEncoder(factors=[])


def test_images_of_another_size_or_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(B, 3, 16, 16\), found \(1, 3, 32, 32\)"):
        build().encode(images(1, 32))
    with pytest.raises(ValueError, match="normalises by itself"):
        build().encode(255 * images(1))
