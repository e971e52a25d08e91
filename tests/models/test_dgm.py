"""The deconvolutional generative model: both readings by hand, CNN-F as one of them, errors."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo
from tests.models.every_latent import IMAGE_SHAPE, LAYERS
from zoo.models.cnnf import CNNF
from zoo.models.dgm import DGM
from zoo.models.rendering import RenderingNetwork
from zoo.models.units import ConvUnit, Latents

SMALL = [
    {"channels": 4, "kernel": 5, "padding": 4, "pool": 2},
    {"channels": 5, "kernel": 3},
    {"channels": 3, "kernel": 3, "padding": 2, "pool": 2},
]


def randomised(model: nn.Module) -> nn.Module:
    """In float64 and eval mode; biases, gains, shifts and statistics are not what they begin as."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name or "shift" in name:
                parameter.normal_(std=0.3, generator=generator)
            if "gain" in name:
                parameter.uniform_(0.5, 1.5, generator=generator)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.2, generator=generator)
            if name.endswith("running_variance"):
                buffer.uniform_(0.5, 2.0, generator=generator)
    return model.double().eval()


def network(**config: object) -> DGM:
    torch.manual_seed(0)
    arguments = {"layers": SMALL, "num_classes": 4, **config}
    return randomised(DGM(**arguments))  # type: ignore[arg-type, return-value]


def images(n: int = 3, shape: tuple[int, int, int] = (1, 28, 28)) -> torch.Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("leak", [0.0, 0.2])
def test_without_norms_the_rendering_is_the_jacobian_transpose(leak: float) -> None:
    model = network(normalisation="none", leak=leak)
    x = images().requires_grad_()
    seen = model.normalised(x)
    seen.retain_grad()
    f, states = seen, []
    for unit in model.rendering_units():
        f, state, _ = unit.ascend(f, None, 0.0)
        states.append(state)
    one_hot = model.one_hot(torch.tensor([0, 3, 1]))
    (jacobian,) = torch.autograd.grad(f, seen, one_hot)
    rendered = model.descend(one_hot, states)[-1].below
    torch.testing.assert_close(rendered, jacobian, rtol=0, atol=1e-12)


@pytest.mark.parametrize("normalisation", ["none", "rms", "batch"])
def test_one_upward_pass_is_an_ordinary_cnn(normalisation: str) -> None:
    model = network(normalisation=normalisation, mean=(0.3,), std=(0.4,))
    p = model.state_dict()
    x = (images() - 0.3) / 0.4
    for i, layer in enumerate(SMALL):
        x = F.conv2d(x, p[f"units.{i}.weight"], padding=layer.get("padding", 0))
        if normalisation == "batch":
            mean, variance, gain = (
                p[f"units.{i}.norm_up.{name}"].reshape(1, -1, 1, 1)
                for name in ("running_mean", "running_variance", "gain")
            )
            x = (x - mean) / torch.sqrt(variance + 1e-5) * gain
        if normalisation == "rms":
            x = x / torch.sqrt(x.square().mean((2, 3), keepdim=True) + 1e-8)
        x = F.leaky_relu(x + p[f"units.{i}.bias"].reshape(1, -1, 1, 1), 0.1)
        x = F.max_pool2d(x, 2) if "pool" in layer else x
    x = x.mean((2, 3)) @ p["units.3.weight"].t() + p["units.3.bias"]
    torch.testing.assert_close(model(images()), x, rtol=1e-12, atol=1e-12)
    logits, latents = model.infer(images())
    torch.testing.assert_close(logits, x, rtol=1e-12, atol=1e-12)
    assert [latent.switches.shape[1:] for latent in latents] == [
        (4, 32, 32),
        (5, 14, 14),
        (3, 16, 16),
    ]
    assert {float(v) for latent in latents for v in latent.switches.unique()} == {0.1, 1.0}


@pytest.mark.parametrize("leak", [0.0, 0.1])
def test_the_lower_path_is_made_of_minima(leak: float) -> None:
    model = network(leak=leak)
    p = model.state_dict()
    x = (images() - 0.5) / 0.5
    for i, layer in enumerate(SMALL):
        x = F.conv2d(x, p[f"units.{i}.weight"], padding=layer.get("padding", 0))
        mean, variance, gain = (
            p[f"units.{i}.norm_lower.{name}"].reshape(1, -1, 1, 1)
            for name in ("running_mean", "running_variance", "gain")
        )
        # Its statistics are those of the negative.
        x = (x + mean) / torch.sqrt(variance + 1e-5) * gain + p[f"units.{i}.bias"][:, None, None]
        x = -F.leaky_relu(-x, leak)
        x = -F.max_pool2d(-x, 2) if "pool" in layer else x
    x = x.mean((2, 3)) @ p["units.3.weight"].t() + p["units.3.bias"]
    torch.testing.assert_close(model.lower(images()), x, rtol=1e-12, atol=1e-12)


def test_rendering_by_hand() -> None:
    """Every step down with batch norm: norm, to its position, switched, transposed convolution."""
    model = network()
    p = model.state_dict()
    labels = torch.tensor([2, 0, 1])
    _, latents = model.infer(images())

    def normed(x: torch.Tensor, name: str, shift: str) -> torch.Tensor:
        mean, variance, gain = (
            p[f"{name}.{kind}"].reshape(1, -1, 1, 1)
            for kind in ("running_mean", "running_variance", "gain")
        )
        return (x - mean) / torch.sqrt(variance + 1e-5) * gain + p[shift].reshape(1, -1, 1, 1)

    g = (p["units.3.weight"][labels] / 64)[:, :, None, None].expand(-1, -1, 8, 8)
    maps, prior = [g], torch.zeros(3, dtype=torch.float64)
    for i in (2, 1, 0):
        g = normed(g, f"units.{i}.norm_down", f"units.{i}.shift_down")
        if latents[i].positions is not None:
            full = torch.zeros_like(latents[i].switches)
            for b, c, h, w in np.ndindex(*g.shape):
                offset = int(latents[i].positions[b, c, h, w])
                full[b, c, offset // full.shape[3], offset % full.shape[3]] = g[b, c, h, w]
            g = full
        g = g * latents[i].switches
        prior = prior + g.sum((2, 3)) @ p[f"units.{i}.bias"]
        g = F.conv_transpose2d(g, p[f"units.{i}.weight"], padding=SMALL[i].get("padding", 0))
        maps.append(g)
    pixels = normed(maps.pop(), "units.0.norm_below", "units.0.shift_below")
    expected = (pixels * 0.5 + 0.5).clamp(0, 1)
    *coarse, image = model.render_layers(labels, latents)
    assert image.shape == (3, 1, 28, 28)
    torch.testing.assert_close(image, expected, rtol=1e-10, atol=1e-10)
    for found, by_hand in zip(coarse, maps, strict=True):
        torch.testing.assert_close(found, by_hand, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model.render(labels, latents), image, rtol=0, atol=0)
    torch.testing.assert_close(model.log_prior(latents, labels), prior, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        model.reconstruct(images(), labels=labels), image, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: randomised(CNNF(feedback_to=0)),
        lambda: randomised(CNNF(feedback_to=2)),
        lambda: zoo.create("cnnf-robust", pretrained=True, dtype=torch.float64),
        lambda: zoo.create("cnnf-robust.restoring", pretrained=True, dtype=torch.float64),
        lambda: network(normalisation="none"),
        lambda: network(normalisation="rms", leak=0.0),
        lambda: network(normalisation="batch"),
        lambda: zoo.create("dgm-fashion-mnist", pretrained=True, dtype=torch.float64),
    ],
    ids=["pixels", "features", "robust", "restoring", "none", "rms", "batch", "dgm"],
)
def test_the_feedback_of_cnn_f_is_the_rendering(build: object) -> None:
    """One network, two readings: same weights, same latents, same image."""
    model = build()  # type: ignore[operator]
    assert isinstance(model, RenderingNetwork)
    trajectory = model.trajectory(images(), 1)
    logits, latents = model.infer(images())
    torch.testing.assert_close(logits, trajectory.logits[0], rtol=0, atol=0)
    rendered = model.render(logits, latents)
    # What the loop rendered in its first iteration, continued to the pixels where it ends above.
    torch.testing.assert_close(model.reconstruct(images(), 1), rendered, rtol=0, atol=1e-12)
    if model.loop_from == 0:
        torch.testing.assert_close(
            model.renderings(images(), trajectory)[0], rendered, rtol=0, atol=1e-12
        )
    else:
        # The feedback layer's features are the map below the units of the loop.
        layers = model.render_layers(logits, latents)
        loop = len(model.units) - model.loop_from
        torch.testing.assert_close(
            trajectory.reconstructions[0][0], layers[loop - 1], rtol=0, atol=1e-12
        )


def test_the_loop_of_cnn_f_runs_on_a_dgm() -> None:
    model = network(normalisation="rms", leak=0.0)
    assert not torch.equal(model(images(), iterations=2), model(images()))
    assert model(images(), iterations=2).shape == (3, 4)


def test_up_and_down_share_one_tensor() -> None:
    model = network(normalisation="none")
    names = {f"units.{i}.{kind}" for i in range(4) for kind in ("weight", "bias")}
    assert set(model.state_dict()) == names
    labels = torch.tensor([0, 1, 2])
    one_hot = model.one_hot(labels)
    before = model.descend(one_hot, model.explain(images())[1])[-1].below
    with torch.no_grad():
        model.units[0].weight.mul_(2.0)
        model.units[0].bias.mul_(2.0)  # twice the features: the latents of this layer are the same
    after = model.descend(one_hot, model.explain(images())[1])[-1].below
    assert not torch.equal(after, before)


def test_the_gradient_of_a_shared_weight_is_that_of_both_ways() -> None:
    model = network(layers=LAYERS, image_shape=IMAGE_SHAPE, normalisation="batch")
    x = images(4, IMAGE_SHAPE)
    labels = torch.tensor([0, 1, 2, 3])
    _, states = model.explain(x)  # the latents stay as they are
    unit = model.units[0]
    assert isinstance(unit, ConvUnit)

    def both(weight: torch.Tensor) -> torch.Tensor:
        other = {**dict(model.named_parameters()), "units.0.weight": weight}

        def ways() -> torch.Tensor:
            logits = model(x)
            rendered = model.descend(model.one_hot(labels), states)
            return torch.cat([logits.flatten(), rendered[-1].below.flatten()])

        return torch.func.functional_call(
            _Call(model, ways), {f"model.{k}": v for k, v in other.items()}, ()
        )

    assert torch.autograd.gradcheck(both, (unit.weight.detach().clone().requires_grad_(),))


class _Call(nn.Module):
    """Calls a function while the parameters of a model are exchanged."""

    def __init__(self, model: nn.Module, function: object) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self) -> torch.Tensor:
        return self.function()  # type: ignore[operator, no-any-return]


def test_the_released_networks_are_counted() -> None:
    model = DGM()
    filters = 25 * 32 + 9 * 32 * 64 + 9 * 64 * 64 + 9 * 64 * 128 + 128 * 10
    biases = 32 + 64 + 64 + 128 + 10
    # A gain for every direction and path, a shift downwards; at the pixels a gain and a shift.
    norms = 4 * (32 + 64 + 64 + 128) + 2
    assert sum(p.numel() for p in model.parameters()) == filters + biases + norms == 132_556
    assert [s.above for s in model._shapes] == [
        (32, 16, 16), (64, 14, 14), (64, 8, 8), (128, 6, 6), (10,)
    ]  # fmt: skip


def test_an_image_does_not_depend_on_its_batch_nor_on_the_mode_of_gradients() -> None:
    model = network()
    with torch.no_grad():
        together = model.reconstruct(images(4))
    alone = torch.cat([model.reconstruct(image[None]) for image in images(4)])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)


def test_dropout_is_for_training_only() -> None:
    layers = [{"channels": 4, "kernel": 3, "padding": 1, "pool": 2, "dropout": 0.5}]
    model = network(layers=layers, normalisation="none")
    assert torch.equal(model(images()), model(images()))
    model.train()
    torch.manual_seed(0)
    assert not torch.equal(model(images()), model(images()))


@pytest.mark.parametrize("change", ["layers", "size", "batch", "dtype", "range", "missing"])
def test_latents_that_do_not_fit_are_refused(change: str) -> None:
    model = network()
    _, latents = model.infer(images())
    labels = torch.tensor([0, 1, 2])
    first, *rest = latents
    assert first.positions is not None
    given, message = {
        "layers": (latents[:2], "expected 3 layers, found 2"),
        "size": (
            (Latents(first.switches[..., :30], first.positions), *rest),
            r"layer 0: expected switches of shape \(3, 4, 32, 32\), found \(3, 4, 32, 30\)",
        ),
        "batch": (
            (Latents(first.switches[:2], first.positions), *rest),
            r"expected switches of shape \(3, 4, 32, 32\), found \(2, 4, 32, 32\)",
        ),
        "dtype": (
            (Latents(first.switches, first.positions.float()), *rest),
            "expected positions of torch.int64, found torch.float32",
        ),
        "range": (
            (Latents(first.switches, first.positions + 1000), *rest),
            r"expected positions of 0 to 1023, found 1\d\d\d to",
        ),
        "missing": (
            (Latents(first.switches), *rest),
            r"expected positions of shape \(3, 4, 16, 16\), found None",
        ),
    }[change]
    with pytest.raises(ValueError, match=message):
        model.render(labels, given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("top", "message"),
    [
        (torch.tensor([0, 4, 1]), "labels: expected 0 to 3, found 0 to 4"),
        (torch.tensor([0, -1, 1]), "labels: expected 0 to 3, found -1 to 1"),
        (torch.tensor([[0, 1, 1]]), r"expected int64 of shape \(B,\), found torch.int64 \(1, 3\)"),
        (torch.rand(3, 5), r"logits: expected \(B, 4\), found \(3, 5\)"),
    ],
)
def test_labels_that_are_none_are_refused(top: torch.Tensor, message: str) -> None:
    model = network()
    _, latents = model.infer(images())
    with pytest.raises(ValueError, match=message):
        model.render(top, latents)


def test_reconstruct_refuses_what_contradicts() -> None:
    model = network()
    with pytest.raises(ValueError, match="pass iterations=0"):
        model.reconstruct(images(), 1, labels=torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="labels: expected 3, found 2"):
        model.reconstruct(images(), labels=torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"leak": 1.0}, "leak must lie in"),
        ({"normalisation": "layer"}, "normalisation must be"),
        ({"mean": (0.5, 0.5)}, "mean and std must be 1 numbers each"),
        ({"std": (0.0,)}, "those of std positive"),
        ({"layers": [{"channels": 3}]}, "a layer has channels, kernel"),
        ({"layers": [{"channels": 3, "kernel": 3, "stride": 2}]}, "found .*stride"),
        ({"layers": [{"channels": 3, "kernel": 4, "pool": 2}]}, "25 x 25 does not divide"),
        ({"layers": [{"channels": 3, "kernel": 30}]}, "does not fit a map of"),
    ],
)
def test_arguments_out_of_range_are_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DGM(**config)  # type: ignore[arg-type]
