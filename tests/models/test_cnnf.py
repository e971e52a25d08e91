"""CNN-F: the whole network against the book, and the properties that make it what it is."""

import copy
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from tests.models.by_the_book import Book
from zoo.models import adaptive
from zoo.models.cnnf import CNNF


def network(*, dtype: torch.dtype = torch.float64, **config: object) -> CNNF:
    """A random network with non-zero biases, so that a bias in the feedback would show."""
    torch.manual_seed(0)
    model = CNNF(**config).to(dtype).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    return model


def images(n: int = 3, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("feedback_to", [0, 1, 2])
@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_every_logit_feature_and_reconstruction_is_by_the_book(
    feedback_to: int, damping: float
) -> None:
    model = network(feedback_to=feedback_to, damping=damping)
    found = model.trajectory(images(), 3)
    logits, features, reconstructions = Book(model, damping, feedback_to).run(images(), 3)
    for mine, book in zip(found.logits, logits, strict=True):
        torch.testing.assert_close(mine, book, rtol=1e-10, atol=1e-10)
    pairs = [
        *zip(found.features, features, strict=True),
        *zip(found.reconstructions, reconstructions, strict=True),
    ]
    for mine, book in pairs:
        for a, b in zip(mine, book, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_gradients_of_the_shared_weights_are_by_the_book() -> None:
    model = network()

    def loss(logits: list, features: list, reconstructions: list) -> torch.Tensor:
        total = sum(y.square().sum() for y in logits)
        for t in reconstructions:
            for rendered, seen in zip(t, features[0], strict=True):
                total = total + F.mse_loss(rendered, seen)
        return total

    found = model.trajectory(images(), 2)
    mine = torch.autograd.grad(
        loss(found.logits, found.features, found.reconstructions), list(model.parameters())
    )
    book = torch.autograd.grad(
        loss(*Book(model, 0.1, 2).run(images(), 2)), list(model.parameters())
    )
    for a, b in zip(mine, book, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_parameter_count_and_names() -> None:
    model = CNNF()
    assert sum(p.numel() for p in model.parameters()) == 3_298_962
    assert set(model.state_dict()) == {
        f"units.{i}.{kind}" for i in range(7) for kind in ("weight", "bias")
    }


def test_zero_iterations_are_the_plain_cnn() -> None:
    model = network()
    p = model.state_dict()
    x = images() * 2 - 1
    for i in range(4):
        x = F.conv2d(x, p[f"units.{i}.weight"], padding=1)
        x = x / torch.sqrt((x * x).mean(dim=(2, 3), keepdim=True) + 1e-8)
        x = F.relu(x + p[f"units.{i}.bias"].reshape(1, -1, 1, 1))
        x = F.max_pool2d(x, 2) if i >= 2 else x
    x = x.flatten(1)
    for i in (4, 5):
        x = F.relu(F.linear(x, p[f"units.{i}.weight"], p[f"units.{i}.bias"]))
    x = F.linear(x, p["units.6.weight"], p["units.6.bias"])
    torch.testing.assert_close(model(images(), iterations=0), x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model.trajectory(images(), 0).logits[0], x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("feedback_to", [0, 2])
@pytest.mark.parametrize("label", [0, 7])
def test_without_norms_the_first_feedback_is_the_jacobian_transpose(
    feedback_to: int, label: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tied weights, masks and unpooling at once: feedback of one-hot(c) = ∂ logit_c / ∂ h."""
    monkeypatch.setattr(
        "zoo.models.units.rms_norm", lambda x, bias=0.0: x + torch.as_tensor(bias).reshape(-1, 1, 1)
    )
    model = network(feedback_to=feedback_to)
    logits, states, (h, *_) = model._ascend(lower(model, images()).detach().requires_grad_(), None)
    one_hot = torch.zeros_like(logits)
    one_hot[:, label] = 1.0
    _, (rendered, *_) = model._descend(one_hot, states)
    (jacobian,) = torch.autograd.grad(logits, h, one_hot)
    torch.testing.assert_close(rendered, jacobian, rtol=0.0, atol=1e-12)


def lower(model: CNNF, x: torch.Tensor) -> torch.Tensor:
    """Features at the feedback layer."""
    return model.trajectory(x, 0).features[0][0]


def test_feedback_is_odd_in_the_logits() -> None:
    model = network(dtype=torch.float32)
    logits, states, _ = model._ascend(lower(model, images(dtype=torch.float32)), None)
    _, there = model._descend(logits, states)
    _, back = model._descend(-logits, states)
    assert all(torch.equal(a, -b) for a, b in zip(there, back, strict=True))


def test_feedback_does_not_depend_on_the_scale_of_the_logits() -> None:
    model = network()
    logits, states, _ = model._ascend(lower(model, images()), None)
    _, once = model._descend(
        logits * 1e3, states
    )  # large enough for the 1e-8 of the norm to vanish
    _, scaled = model._descend(logits * 1e5, states)
    torch.testing.assert_close(once[0], scaled[0], rtol=1e-6, atol=1e-6)


def test_an_image_does_not_depend_on_its_batch() -> None:
    model = network(dtype=torch.float32)
    batch = images(4, torch.float32)
    alone = torch.cat([model(image[None], 2) for image in batch])
    torch.testing.assert_close(model(batch, 2), alone, rtol=1e-5, atol=1e-5)


def test_feedback_uses_the_weights_after_an_optimiser_step() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    F.cross_entropy(model(images(), 2), torch.tensor([0, 1, 2])).backward()
    optimizer.step()
    logits, _, _ = Book(model, 0.1, 2).run(images(), 2)
    torch.testing.assert_close(model.trajectory(images(), 2).logits[2], logits[2])


def test_prediction_is_the_last_or_the_average_iterate() -> None:
    model = network()
    logits = model.trajectory(images(), 3).logits
    torch.testing.assert_close(model(images(), 3), torch.stack(logits).mean(0))
    model.prediction = "last"
    assert torch.equal(model(images(), 3), logits[-1])


def test_zero_damping_is_not_the_plain_cnn() -> None:
    model = network(damping=0.0)
    first, second = model.trajectory(images(), 1).logits
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("feedback_to", [0, 2])
def test_reconstructions_are_images(feedback_to: int) -> None:
    model = network(dtype=torch.float32, feedback_to=feedback_to)
    pictures = [model.reconstruct(images(dtype=torch.float32), k) for k in (1, 2, 3)]
    for picture in pictures:
        assert picture.shape == (3, 1, 28, 28)
        assert picture.min() >= 0.0
        assert picture.max() <= 1.0
    assert all(not torch.equal(a, b) for a, b in pairwise(pictures))


def test_reconstruction_from_the_pixels_is_the_last_feedback_of_the_loop() -> None:
    model = network(feedback_to=0)
    rendered = model.trajectory(images(), 3).reconstructions[-1][0]
    expected = (rendered * 0.5 + 0.5).clamp(0, 1)
    torch.testing.assert_close(model.reconstruct(images(), 3), expected)


def test_a_call_leaves_no_trace_in_the_model() -> None:
    model = network(dtype=torch.float32)
    twin = copy.deepcopy(model)
    model(images(7, torch.float32), 2)
    assert set(vars(model)) == set(vars(twin))
    assert torch.equal(model(images(3, torch.float32)), twin(images(3, torch.float32)))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(2, 28, 28), r"shape \(B, 1, 28, 28\), found \(2, 28, 28\)"),
        (torch.zeros(2, 3, 28, 28), "shape"),
        (torch.zeros(2, 1, 32, 32), "shape"),
        (torch.zeros(2, 1, 28, 28, dtype=torch.uint8), "float32 images"),
        (torch.zeros(2, 1, 28, 28, dtype=torch.float64), "float32 images"),
        (torch.full((2, 1, 28, 28), 1.01), r"\[0, 1\], found \[1.01, 1.01\]"),
        (torch.full((2, 1, 28, 28), -0.01), r"values in \[0, 1\]"),
        (torch.full((2, 1, 28, 28), float("nan")), r"values in \[0, 1\]"),
    ],
)
@pytest.mark.parametrize("method", ["forward", "reconstruct", "trajectory"])
def test_wrong_images_are_refused(bad: torch.Tensor, message: str, method: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(CNNF(), method)(bad)


def test_an_empty_batch_gives_empty_logits() -> None:
    assert CNNF()(torch.zeros(0, 1, 28, 28)).shape == (0, 10)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"feedback_to": 5}, "feedback_to"),
        ({"feedback_to": -1}, "feedback_to"),
        ({"iterations": -1}, "iterations"),
        ({"iterations": 1.5}, "iterations"),
        ({"damping": 1.5}, "damping"),
        ({"prediction": "best"}, "prediction"),
    ],
)
def test_wrong_settings_are_refused(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CNNF(**config)


def test_no_iterations_no_reconstruction() -> None:
    with pytest.raises(ValueError, match="at least one iteration"):
        CNNF(iterations=0).reconstruct(torch.zeros(1, 1, 28, 28))


def test_the_loop_can_be_exported(tmp_path) -> None:
    model = network(dtype=torch.float32)
    batch = images(3, torch.float32)
    size = torch.export.Dim("batch", min=2)
    program = torch.export.export(model, (batch,), dynamic_shapes=({0: size},))
    torch.export.save(program, tmp_path / "cnnf.pt2")
    again = torch.export.load(tmp_path / "cnnf.pt2").module()
    torch.testing.assert_close(again(images(5, torch.float32)), model(images(5, torch.float32)))


def test_norm_epsilon_is_the_papers() -> None:
    assert adaptive.NORM_EPSILON == 1e-8


def test_the_loop_compiles_into_one_graph() -> None:
    model = network(dtype=torch.float32)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images(3, torch.float32)), model(images(3, torch.float32)))


@pytest.mark.parametrize("layer", [0, 2])
def test_renderings_are_the_reconstructions_of_every_iteration(layer: int) -> None:
    torch.manual_seed(0)
    model = CNNF(feedback_to=layer, iterations=2).eval()
    images = torch.rand(3, 1, 28, 28)
    with torch.no_grad():
        found = model.renderings(images, model.trajectory(images))
        assert len(found) == 2
        for k, rendered in enumerate(found, start=1):
            torch.testing.assert_close(rendered, model.reconstruct(images, k))
