"""CNN-F on a Wide ResNet: against the description, unrolled, and autograd's transpose."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.models.by_the_book import AdaReLU, norm
from zoo.models.cnnf_wide_resnet import CNNFWideResNet


def network(
    *, depth: int = 10, dtype: torch.dtype = torch.float64, **config: int
) -> CNNFWideResNet:
    torch.manual_seed(0)
    model = CNNFWideResNet(depth=depth, **{"feedback_to": 1, **config}).to(dtype).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.normal_(std=0.1)
    return model


def images(n: int = 2) -> Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class BookBlock:
    """One residual block in both directions, as the description has it."""

    def __init__(self, p: dict[str, Tensor], damping: float, stride: int) -> None:
        self.p, self.stride = p, stride
        self.relu1, self.relu2 = AdaReLU(damping), AdaReLU(damping)

    def up(self, x: Tensor) -> Tensor:
        a = self.relu1.up(norm(x) + self.p["bias1"].reshape(1, -1, 1, 1))
        r = norm(F.conv2d(a, self.p["weight1"], stride=self.stride, padding=1))
        r = self.relu2.up(r + self.p["bias2"].reshape(1, -1, 1, 1))
        r = F.conv2d(r, self.p["weight2"], padding=1)
        if "shortcut" in self.p:
            return r + F.conv2d(a, self.p["shortcut"], stride=self.stride)
        return r + x

    def down(self, g: Tensor) -> Tensor:
        extra = self.stride - 1
        u = self.relu2.down(norm(F.conv_transpose2d(g, self.p["weight2"], padding=1)))
        u = norm(
            F.conv_transpose2d(u, self.p["weight1"], None, self.stride, 1, output_padding=extra)
        )
        if "shortcut" in self.p:
            u = u + F.conv_transpose2d(g, self.p["shortcut"], None, self.stride, 0, extra)
            return self.relu1.down(u)
        return self.relu1.down(u) + g


def book(model: CNNFWideResNet, x: Tensor, iterations: int, damping: float) -> list[Tensor]:
    """Logits of every iteration of a depth-10 network with its loop above the first block."""
    p = dict(model.named_parameters())
    strides = (1, 2, 2)
    blocks = [
        BookBlock(
            {k.split(".")[2]: v for k, v in p.items() if k.startswith(f"units.{i}.")}, damping, s
        )
        for i, s in zip((1, 2, 3), strides, strict=True)
    ]
    relu = AdaReLU(damping)

    def top(h: Tensor) -> Tensor:
        for block in blocks[1:]:
            h = block.up(h)
        h = relu.up(norm(h) + p["units.4.norm_bias"].reshape(1, -1, 1, 1))
        return F.avg_pool2d(h, 8).flatten(1) @ p["units.4.weight"].t() + p["units.4.bias"]

    h = blocks[0].up(F.conv2d(x * 2 - 1, p["units.0.weight"], padding=1))
    logits = [top(h)]
    for _ in range(iterations):
        g = (logits[-1] @ p["units.4.weight"]).reshape(len(x), -1, 1, 1).repeat(1, 1, 8, 8)
        g = relu.down(norm(g))
        for block in reversed(blocks[1:]):
            g = block.down(g)
        h = h + damping * (g - h)
        logits.append(top(h))
    return logits


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_every_iterate_is_by_the_book(damping: float) -> None:
    model = network(damping=damping)
    found = model.trajectory(images(), 3).logits
    for mine, expected in zip(found, book(model, images(), 3, damping), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


def test_gradients_are_by_the_book() -> None:
    model = network()
    parameters = list(model.parameters())
    mine = torch.autograd.grad(
        sum(y.square().sum() for y in model.trajectory(images(), 2).logits), parameters
    )
    expected = torch.autograd.grad(
        sum(y.square().sum() for y in book(model, images(), 2, 0.1)), parameters
    )
    for a, b in zip(mine, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("feedback_to", [0, 1])
def test_without_norms_the_feedback_is_the_jacobian_transpose_up_to_the_undivided_average(
    feedback_to: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "zoo.models.cnnf_wide_resnet.rms_norm",
        lambda x, bias=0.0: x + torch.as_tensor(bias).reshape(-1, 1, 1),
    )
    model = network(feedback_to=feedback_to)
    h = model.trajectory(images(), 0).features[0][0].detach().requires_grad_()
    logits, states, _ = model._ascend(h, None)
    one_hot = F.one_hot(torch.tensor([3, 7]), 10).to(torch.float64)
    _, (rendered, *_) = model._descend(one_hot, states)
    (jacobian,) = torch.autograd.grad(logits, h, one_hot)
    torch.testing.assert_close(rendered / 64, jacobian, rtol=1e-10, atol=1e-12)


def test_the_published_network_has_the_published_size() -> None:
    with torch.device("meta"):
        model = CNNFWideResNet()
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(2.24e6, rel=5e-3)
    assert model.loop_from == 6
    assert len(model.units) == 20


def test_reports_h_and_the_outputs_of_the_three_stages() -> None:
    model = network()
    found = model.trajectory(images(), 1)
    shapes = [(32, 32, 32), (32, 32, 32), (64, 16, 16), (128, 8, 8)]
    assert [tuple(f.shape[1:]) for f in found.features[0]] == shapes
    assert [tuple(f.shape[1:]) for f in found.reconstructions[0]] == shapes
    assert model.reconstruct(images(), 2).shape == (2, 3, 32, 32)


def test_zero_iterations_are_the_first_pass() -> None:
    model = network()
    torch.testing.assert_close(model(images(), 0), model.trajectory(images(), 0).logits[0])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"depth": 12}, "depth"),
        ({"depth": 4}, "depth"),
        ({"widen_factor": 0}, "widen_factor"),
        ({"depth": 10, "feedback_to": 2}, "feedback_to"),
    ],
)
def test_wrong_settings_are_refused(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CNNFWideResNet(**config)
