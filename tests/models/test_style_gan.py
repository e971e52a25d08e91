"""The disentangled StyleGAN: sizes, arithmetic, where codes reach, its surface."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo.models
from zoo.models.disentangled_style_gan import CHANNELS, DisentangledStyleGAN
from zoo.models.factors import Factor
from zoo.models.style_discriminator import Discriminator, batch_deviation
from zoo.models.style_generator import Epilogue, Mapping, Synthesis, normalise_and_style

FACTORS = [Factor("wall", 4, "colour"), Factor("shape", 3, "form", True), Factor("light", 5, "?")]
SMALL = {"latent_dim": 12, "style_dim": 10, "mapping_layers": 3, "features": 14}


@pytest.fixture
def model() -> DisentangledStyleGAN:
    torch.manual_seed(0)
    made = DisentangledStyleGAN(FACTORS, 16, channels=[8, 6, 4], progressive=True, **SMALL)
    return made.eval()


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def codes(model: DisentangledStyleGAN, n: int, seed: int = 2) -> Tensor:
    return model.layout.sample(n, torch.Generator().manual_seed(seed))


def count(module: nn.Module | None) -> int:
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("side", "code_dim", "channels", "expected"),
    [
        (64, 5, 1, (2_365_952, 1_052_672, 23_025_152, 22_488_320, 512, 2_565)),
        (64, 9, 3, (2_368_000, 1_054_720, 23_025_152, 22_488_320, 512, 4_617)),
        (128, 9, 3, (2_368_000, 1_054_720, 23_730_432, 22_931_072, 512, 4_617)),
        (512, 9, 3, (2_368_000, 1_054_720, 24_065_856, 23_069_600, 512, 4_617)),
        (1024, 7, 3, (2_366_976, 1_053_696, 24_105_632, 23_076_560, 512, 3_591)),
    ],
)
def test_parameters_of_the_predecessor_code(
    side: int, code_dim: int, channels: int, expected: tuple[int, ...]
) -> None:
    widths = [width for size, width in CHANNELS.items() if size <= side]
    with torch.device("meta"):
        mappings = [Mapping(512, code_dim, 512, layers) for layers in (8, 3)]
        synthesis = Synthesis(widths, 512, channels)
        discriminator = Discriminator(widths, code_dim, channels)
    ends = discriminator.from_image, discriminator.logit, discriminator.code
    found = (
        *map(count, mappings),
        count(synthesis) - count(synthesis.to_image),
        count(discriminator) - sum(map(count, ends)),
        count(discriminator.logit),
        count(discriminator.code),
    )
    assert found == expected


def test_parameters_of_the_official_networks() -> None:
    # What the official logs of StyleGAN at 1024 × 1024 print: unconditional, with noise, growing.
    widths = list(CHANNELS.values())
    with torch.device("meta"):
        generator = Mapping(512, 0, 512, 8), Synthesis(widths, 512, noise=True, progressive=True)
        discriminator = Discriminator(widths, 0, progressive=True)
    assert sum(map(count, generator)) == 26_219_627
    # Its last layer has a bias there.
    assert count(discriminator) + 1 == 23_087_249


def test_discriminator_and_encoder_differ_in_one_layer(model: DisentangledStyleGAN) -> None:
    discriminator = model.discriminator
    only_encoder = {name for name, _ in discriminator.named_parameters() if name[:5] == "code."}
    assert count(discriminator.code) == model.layout.width * (14 + 1)
    # Whatever else there is feels both ends.
    images = model.sample(4, generator=torch.Generator().manual_seed(0))
    for end in (0, 1):
        discriminator.zero_grad()
        discriminator(images)[end].square().sum().backward()
        moved = {
            name
            for name, each in discriminator.named_parameters()
            if each.grad is not None and each.grad.any()
        }
        unused = {name for name, _ in discriminator.named_parameters() if "from_image" in name}
        trunk = {name for name, _ in discriminator.named_parameters()} - only_encoder - unused
        assert (trunk - {"logit.weight"}) <= moved | {"from_image.16.weight"}
        assert ("logit.weight" in moved, "code.weight" in moved) == (end == 0, end == 1)


def test_codes_reach_every_style(model: DisentangledStyleGAN) -> None:
    styles: list[Tensor] = []
    epilogues = [each for each in model.modules() if isinstance(each, Epilogue)]
    assert len(epilogues) == 2 * 3
    for each in epilogues:
        each.style.register_forward_hook(lambda _module, _inputs, out: styles.append(out))
    z, told = draw(1, 12), codes(model, 1)
    model(z, told)
    before, styles[:] = list(styles), []
    for column in range(model.layout.width):
        other = told.clone()
        other[0, column] = 1 - other[0, column]
        model(z, other)
        for a, b in zip(before, styles, strict=True):
            assert (a - b).abs().max() > 1e-6
        styles.clear()


def test_without_its_embedding_a_code_changes_nothing(model: DisentangledStyleGAN) -> None:
    z = draw(3, 12)
    with torch.no_grad():
        assert model.generator.mapping.embed is not None
        model.generator.mapping.embed.zero_()
        assert torch.equal(model(z, codes(model, 3)), model(z, codes(model, 3, seed=5)))


def test_only_z_is_normalised(model: DisentangledStyleGAN) -> None:
    mapping, told = model.generator.mapping, codes(model, 2)
    z = draw(2, 12)
    torch.testing.assert_close(mapping(3 * z, told), mapping(z, told))
    assert not torch.allclose(mapping(z, 0.5 * told), mapping(z, told))


def test_normalise_and_style_against_float64_by_the_book() -> None:
    x, bias = 3 + 2 * draw(2, 5, 6, 6).double(), draw(5).double()
    style = draw(2, 10, seed=4).double()
    a = F.leaky_relu(x + bias.view(1, 5, 1, 1), 0.2)
    normal = F.instance_norm(a, eps=1e-8)
    expected = (1 + style[:, :5, None, None]) * normal + style[:, 5:, None, None]
    torch.testing.assert_close(normalise_and_style(x, bias, style), expected)


def test_statistics_of_bfloat16_maps_are_precise() -> None:
    x = (100 + draw(2, 4, 16, 16)).bfloat16()
    out = normalise_and_style(x, torch.zeros(4), torch.zeros(2, 8)).float()
    exact = F.instance_norm(x.double(), eps=1e-8)
    assert out.dtype == torch.float32
    assert (out - exact).abs().max() < 0.02


def test_growing_fades_from_one_size_to_the_next(model: DisentangledStyleGAN) -> None:
    z, told = draw(2, 12), codes(model, 2)
    small = model.generator(z, told, level=1)
    large = model.generator(z, told, level=2)
    assert small.shape[-1] == 8
    assert torch.equal(large, model(z, told))
    barely = model.generator(z, told, level=1 + 1e-7)
    torch.testing.assert_close(barely, F.interpolate(small, scale_factor=2.0))
    # So does the discriminator.
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    halves = F.avg_pool2d(images, 2)
    for a, b in zip(
        model.discriminator(images, 1 + 1e-7), model.discriminator(halves, 1), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_encoder_does_not_see_the_other_images(model: DisentangledStyleGAN) -> None:
    images = model.sample(64, generator=torch.Generator().manual_seed(0))
    together = model.encode(images)
    alone = torch.cat([model.encode(image[None]) for image in images])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)
    # The discriminator does, within groups of four.
    changed = images.clone()
    changed[3] = 0
    before, after = model.discriminator(images)[0], model.discriminator(changed)[0]
    assert (before[:3] != after[:3]).all()
    torch.testing.assert_close(before[4:], after[4:])


def test_batch_deviation() -> None:
    x = draw(8, 3, 2, 2).double()
    found = batch_deviation(x, 4)
    assert found.shape == (8, 1, 2, 2)
    for i in range(0, 8, 4):
        expected = x[i : i + 4].std(0, correction=0).mean()
        torch.testing.assert_close(found[i : i + 4], expected.expand(4, 1, 2, 2))


def test_images_and_codes_are_in_their_ranges(model: DisentangledStyleGAN) -> None:
    images = model(draw(6, 12), codes(model, 6))
    assert images.shape == (6, *model.image_shape)
    assert images.dtype == torch.float32
    assert 0 <= images.min() < images.max() <= 1
    with torch.no_grad():
        model.discriminator.code.bias.copy_(torch.tensor([-9.0, 1, 2, 3, 9]))  # type: ignore[union-attr]
    found = model.encode(images)
    assert torch.equal(found[:, [0, 4]], torch.tensor([0.0, 1.0]).expand(6, 2))
    torch.testing.assert_close(found[:, 1:4].sum(1), torch.ones(6))


def test_samples_are_seeded_and_independent_of_the_batch(model: DisentangledStyleGAN) -> None:
    def sample(**options: int) -> Tensor:
        return model.sample(5, generator=torch.Generator().manual_seed(3), **options)

    torch.testing.assert_close(sample(), sample(batch_size=2), rtol=0, atol=1e-5)
    told = codes(model, 1)[0]
    same = model.sample(3, told, torch.Generator().manual_seed(0))
    z = draw(3, 12, seed=0)
    torch.testing.assert_close(same, model(z, told.expand(3, -1)), rtol=0, atol=1e-5)
    assert model.sample(0).shape == (0, 3, 16, 16)


def test_truncation_draws_styles_to_their_mean(model: DisentangledStyleGAN) -> None:
    model.train()
    for seed in range(20):
        model(draw(32, 12, seed=seed), codes(model, 32, seed=seed))
    model.eval()
    mapping = model.generator.mapping
    z, told = draw(2, 12), codes(model, 2)
    nothing = model(z, told, truncation=0.0)
    torch.testing.assert_close(nothing[0], nothing[1])
    half = model(z, told, truncation=0.5)
    with torch.no_grad():
        w = 0.5 * (mapping(z, told) + mapping.mean)
    torch.testing.assert_close(half, model.generator.synthesis(w) * 0.5 + 0.5)


def test_the_mean_of_styles_is_that_of_the_training(model: DisentangledStyleGAN) -> None:
    mapping = model.generator.mapping
    before = mapping.mean.clone()
    z, told = draw(8, 12), codes(model, 8)
    mapping(z, told)
    assert torch.equal(mapping.mean, before)
    w = mapping.train()(z, told)
    torch.testing.assert_close(mapping.mean, 0.995 * before + 0.005 * w.mean(0))


def test_a_traversal_moves_one_factor(model: DisentangledStyleGAN) -> None:
    told, z = codes(model, 1), draw(1, 12)
    images = model.traverse(told, "light", 3, z)
    for i, value in enumerate([0.0, 0.5, 1.0]):
        asked = told.clone()
        asked[0, model.layout.columns("light")] = value
        torch.testing.assert_close(images[i : i + 1], model(z, asked), rtol=0, atol=1e-5)
    assert len(model.traverse(told[0], "light")) == 5
    shapes = model.traverse(told, "shape", 7, z)
    assert len(shapes) == 3
    asked = told.clone()
    asked[0, 1:4] = torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(shapes[2:], model(z, asked), rtol=0, atol=1e-5)


def test_a_plain_style_gan_has_no_codes() -> None:
    torch.manual_seed(0)
    model = DisentangledStyleGAN([], 8, channels=[4, 4], **SMALL).eval()
    assert model.discriminator.code is None
    images = model.sample(4)
    assert images.shape == (4, 3, 8, 8)
    assert model.encode(images).shape == (4, 0)


def test_noise_only_while_training() -> None:
    torch.manual_seed(0)
    synthesis = Synthesis([4, 4], 6, noise=True)
    for name, parameter in synthesis.named_parameters():
        if name.endswith("noise"):
            nn.init.ones_(parameter)
    w = draw(2, 6)
    assert not torch.equal(synthesis(w), synthesis(w))
    synthesis.eval()
    assert torch.equal(synthesis(w), synthesis(w))


def test_it_is_an_architecture_and_copies(model: DisentangledStyleGAN) -> None:
    assert zoo.models.architecture("disentangled-style-gan") is DisentangledStyleGAN
    twin = copy.deepcopy(model)
    z, told = draw(2, 12), codes(model, 2)
    assert torch.equal(twin(z, told), model(z, told))


def test_bfloat16_convolutions_change_little(model: DisentangledStyleGAN) -> None:
    z, told = draw(4, 12), codes(model, 4)
    exact = model(z, told)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(z, told)
        logits, raw = model.discriminator(rough)
    assert rough.dtype == logits.dtype == raw.dtype == torch.float32
    assert (rough - exact).abs().max() < 0.1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_size": 48}, "image_size: expected 4, 8, 16, 32 ..., found 48"),
        ({"image_size": 32}, "expected 4 numbers, for 4 to 32 pixels; found 3"),
        ({"channels": [8, 0, 4]}, r"channels\[1\] must be an integer of at least 1, found 0"),
        ({"latent_dim": 0}, "latent_dim must be"),
    ],
)
def test_wrong_sizes_are_refused(changes: dict[str, object], said: str) -> None:
    options: dict[str, object] = {"image_size": 16, "channels": [8, 6, 4], **SMALL, **changes}
    with pytest.raises(ValueError, match=said):
        DisentangledStyleGAN(FACTORS, **options)  # type: ignore[arg-type]


def test_wrong_inputs_are_refused(model: DisentangledStyleGAN) -> None:
    told = codes(model, 2)
    with pytest.raises(ValueError, match=r"latent vectors of shape \(B, 12\)"):
        model(draw(2, 11), told)
    with pytest.raises(ValueError, match=r"codes of shape \(B, 5\)"):
        model(draw(2, 12), told[:, :4])
    with pytest.raises(ValueError, match=r"codes in \[0, 1\]"):
        model(draw(2, 12), told + 1)
    with pytest.raises(ValueError, match="a code for every latent vector, found 2 and 3"):
        model(draw(3, 12), told)
    with pytest.raises(ValueError, match=r"images of shape \(B, 3, 16, 16\), found \(2, 3, 8, 8\)"):
        model.encode(torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match=r"no factor .walls. .did you mean .wall."):
        model.traverse(told[0], "walls")
    with pytest.raises(ValueError, match="steps: expected at least 1, found 0"):
        model.traverse(told[0], "wall", 0)
