import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.metrics import generation_stub as stub
from zoo import data, registry
from zoo.data import as_float
from zoo.errors import DataError, UnknownNameError, WeightsError
from zoo.metrics import MEASURES, measure, measured, tolerance
from zoo.metrics.classifier_score import classifier_score
from zoo.metrics.frechet import Statistics, frechet_distance
from zoo.metrics.generation import (
    STANDARD,
    Embedding,
    FeatureNetwork,
    draw,
    embed,
    load_network,
    load_reference,
    score,
)
from zoo.metrics.generation import measure as room
from zoo.metrics.generation import reference as references
from zoo.metrics.generation.networks import of_model
from zoo.metrics.kernel_distance import Moments, kernel_distance, moment_distance
from zoo.registry import Metric

FAMILIES = ("frechet", "kernel", "classifier-score")
NAMES = [f"{family}-resnet20{ending}" for family in FAMILIES for ending in ("", "-of-real")]


def by_name(name: str) -> FeatureNetwork:
    model = stub.classifier()
    function = of_model(model, name)
    return FeatureNetwork(name, "a" * 64, torch.device("cpu"), function)


@pytest.fixture
def net() -> FeatureNetwork:
    return by_name(STANDARD)


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A data folder with the stub in place of CIFAR-10, and nothing bundled."""
    monkeypatch.setitem(data.DATASETS, "cifar-10", stub.dataset)
    monkeypatch.setattr(references, "FOLDER", tmp_path / "references")
    monkeypatch.delenv("ZOO_DATA", raising=False)
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def standard(net, monkeypatch) -> FeatureNetwork:
    """The stub in place of the network of the cards."""
    monkeypatch.setattr(room, "load_network", lambda name, device: net)
    return net


def line(name: str, n: int = 60, **changes) -> Metric:
    split = "test" if name.endswith("of-real") else "train"
    return Metric("cifar-10", split, name, changes.get("value", 1.0), n, "zoo verify x --metrics")


# Samples.


def test_samples_are_a_function_of_the_seed_and_their_place():
    before = torch.random.get_rng_state()
    first = draw(stub.Sampler(), 150, seed=1)
    assert first.dtype == torch.uint8 and first.shape == (150, 3, 32, 32)
    assert torch.equal(first, draw(stub.Sampler(), 150, seed=1))
    assert torch.equal(first[:30], draw(stub.Sampler(), 30, seed=1))
    assert not torch.equal(first[:30], draw(stub.Sampler(), 30, seed=2))
    assert not torch.equal(first[:50], first[100:])
    assert torch.equal(before, torch.random.get_rng_state())


def test_samples_are_drawn_in_eval_mode_and_every_module_has_its_mode_again():
    model = stub.Sampler().train()
    model.frozen.eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert torch.equal(draw(model, 10), draw(stub.Sampler().eval(), 10))
    assert model.training and model.norm.training and not model.frozen.training
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


def test_samples_are_whole_grey_levels():
    class Grey:
        def sample(self, n, generator=None):
            return torch.tensor([0.0, 0.4999, 0.5001, 1.0]).view(1, 1, 1, 4).repeat(n, 1, 1, 1)

    assert draw(Grey(), 1).flatten().tolist() == [0, 127, 128, 255]


@pytest.mark.parametrize("value", [math.nan, math.inf, 1.01, -0.01])
def test_samples_that_are_no_images_are_refused(value):
    class Wrong(nn.Module):
        def sample(self, n, generator=None):
            images = torch.zeros(n, 3, 8, 8)
            images[-1, 0, 0, 0] = value
            return images

    model = Wrong().train()
    with pytest.raises(ValueError, match=r"finite and in \[0, 1\]"):
        draw(model, 10)
    assert model.training


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="found 0"):
        draw(stub.Sampler(), 0)


# Feature networks.


def test_an_embedding_is_what_the_model_says_in_any_batches(net):
    images, model = stub.images(30, 0), stub.classifier()
    found = embed(net, images, batch_size=30)
    with torch.no_grad():
        torch.testing.assert_close(found.features, model.features(as_float(images)))
        torch.testing.assert_close(found.logits, model(as_float(images)))
    parts = embed(net, images, batch_size=7)
    torch.testing.assert_close(parts.features, found.features)
    torch.testing.assert_close(parts.logits, found.logits)


def test_any_card_with_a_feature_network_can_be_named(tmp_path):
    folder = stub.classifier_folder(tmp_path)
    found = load_network(f"local-dir:{folder}")
    assert found.sha256 == stub.sha256_of(folder)
    images = as_float(stub.images(3, 0))
    with torch.no_grad():
        torch.testing.assert_close(found.function(images)[1], stub.classifier()(images))


def test_a_model_without_features_is_no_feature_network():
    with pytest.raises(UnknownNameError, match="'plain' is no feature network: a Linear"):
        of_model(nn.Linear(1, 1), "plain")


# References.


def test_statistics_are_bundled_with_the_network_that_they_belong_to():
    weights = registry.info(STANDARD).weights
    path = references.bundled("cifar-10", "train", STANDARD)
    assert path.is_file() == bool(weights)
    if weights:
        card = registry.info(STANDARD)
        sha256 = weights[card.default].sha256
        made = FeatureNetwork(STANDARD, sha256, torch.device("cpu"), None)
        found = references.read(path, made)
        assert found.statistics.n == found.kernel.n == 50_000
        assert 1 < found.classifier_score <= 10
        assert torch.linalg.eigvalsh(found.statistics.covariance)[0] > -1e-9


def test_a_file_says_what_was_computed(net, root, tmp_path):
    computed = load_reference(net, root=root)
    references.write(computed, tmp_path / "one.safetensors")
    references.write(computed, tmp_path / "two.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (
        tmp_path / "two.safetensors"
    ).read_bytes()
    found = references.read(tmp_path / "one.safetensors", net)
    assert found.classifier_score == computed.classifier_score > 1
    assert (found.dataset, found.split, found.network) == ("cifar-10", "train", STANDARD)
    assert found.statistics.n == 120
    torch.testing.assert_close(found.statistics.covariance, computed.statistics.covariance)
    for name in ("second", "third"):
        expected = getattr(computed.kernel, name)
        torch.testing.assert_close(getattr(found.kernel, name), expected, rtol=1e-12, atol=1e-14)
    seen = embed(net, stub.images(50, 7))
    for one, two in zip(
        dataclasses.astuple(found.score(seen)),
        dataclasses.astuple(computed.score(seen)),
        strict=True,
    ):
        assert one == pytest.approx(two, rel=1e-9)


def test_scores_are_the_three_functions_of_features_and_logits(net, root):
    real = embed(net, stub.dataset(root, "train").images)
    seen = embed(net, stub.images(50, 7))
    found = load_reference(net, root=root).score(seen)
    a, b = seen.features, real.features
    assert found.frechet == pytest.approx(frechet_distance(Statistics.of(a), Statistics.of(b)))
    assert found.kernel == pytest.approx(moment_distance(Moments.of(a), Moments.of(b)))
    assert found.classifier_score == classifier_score(seen.logits, 10).value
    assert found.n == 50


def test_with_too_many_features_for_moments_subsets_are_drawn(net, root, tmp_path):
    generator = torch.Generator().manual_seed(0)
    wide = [torch.randn(n, 300, generator=generator) for n in (40, 30)]
    real, seen = (Embedding(each, each[:, :4]) for each in wide)
    found = references.of(net, real, "cifar-10", "train")
    value = found.score(seen).kernel
    assert value == found.score(seen).kernel
    exact = kernel_distance(real.features[:30], seen.features, subsets=1, size=30)
    assert abs(value - exact.value) < 0.1
    with pytest.raises(ValueError, match="has 300 features"):
        references.write(found, tmp_path / "wide.safetensors")


def test_statistics_of_other_weights_are_refused_with_the_command_that_makes_them(
    net, root, tmp_path
):
    path = tmp_path / "file.safetensors"
    references.write(load_reference(net, root=root), path)
    other = dataclasses.replace(net, sha256="b" * 64)
    with pytest.raises(WeightsError, match=f"--write-reference {path}") as caught:
        references.read(path, other)
    assert "a" * 64 in caught.value.found and "b" * 64 in caught.value.expected


@pytest.mark.parametrize("content", [None, b"", b"nonsense" * 10, "without entry"])
def test_a_missing_or_damaged_file_is_refused(net, tmp_path, content):
    path = tmp_path / "file.safetensors"
    if content == "without entry":
        from safetensors.torch import save_file

        save_file({"mean": torch.zeros(2)}, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path} is no file of reference"):
        references.read(path, net)


def test_bundled_statistics_need_no_data(net, root, monkeypatch):
    references.FOLDER.mkdir()
    computed = load_reference(net, root=root)
    references.write(computed, references.bundled("cifar-10", "train", STANDARD))
    found = load_reference(net)
    assert found.statistics.n == 120
    for place in (("cifar-10", "test"), ("other", "train")):
        with pytest.raises((DataError, UnknownNameError)):
            load_reference(net, *place)
    with pytest.raises(DataError, match="--data"):
        load_reference(dataclasses.replace(net, name="another"))


# Scores.


def test_a_generator_is_scored_by_its_samples(net, root):
    found = score(stub.Sampler(), samples=60, features=net, data=root)
    real = load_reference(net, root=root)
    assert found == real.score(embed(net, draw(stub.Sampler(), 60)))
    assert score(stub.Sampler(), samples=60, features=net, reference=real) == found
    assert found.n == 60
    pale = score(stub.Sampler(0.2), samples=60, features=net, reference=real)
    assert pale.frechet > 3 * found.frechet and pale.kernel > found.kernel


def test_a_network_may_be_named(root, tmp_path):
    name = f"local-dir:{stub.classifier_folder(tmp_path)}"
    found = score(stub.Sampler(), samples=20, features=name, data=root)
    expected = score(stub.Sampler(), samples=20, features=by_name("x"), data=root)
    assert found.frechet == pytest.approx(expected.frechet)


# Lines of cards.


def test_cards_name_the_network_and_never_inception():
    ours = {name for name in MEASURES if "resnet20" in name and "renderings" not in name}
    assert ours == set(NAMES)
    assert not any(word in name for name in MEASURES for word in ("fid", "kid", "inception"))


def test_lines_are_the_scores_of_samples_and_of_real_images(standard, root):
    real = load_reference(standard, root=root)
    of_samples = real.score(embed(standard, draw(stub.Sampler(), 60)))
    of_real = real.score(embed(standard, stub.dataset(root, "test").images[:60]))
    for ending, expected in (("", of_samples), ("-of-real", of_real)):
        numbers = (expected.frechet, expected.kernel, expected.classifier_score)
        for family, number in zip(FAMILIES, numbers, strict=True):
            metric = line(f"{family}-resnet20{ending}")
            assert measure(metric, stub.Sampler(), root) == number
            assert measured(metric, stub.Sampler(), root).value == round(number, 6)


def test_lines_of_a_card_share_the_passes_of_the_network(standard, root, monkeypatch):
    seen: list[int] = []
    monkeypatch.setattr(
        room, "embed", lambda net, images: seen.append(len(images)) or embed(net, images)
    )
    room._recent.clear()
    for name in NAMES:
        measure(line(name), stub.Sampler(), root)
    assert seen == [60, 60]
    measure(line(NAMES[0]), stub.Sampler(0.5), root)
    assert seen == [60, 60, 60]
    assert len(room._recent) == 2


def test_without_data_only_real_images_cannot_be_measured(standard, root):
    references.FOLDER.mkdir()
    path = references.bundled("cifar-10", "train", STANDARD)
    references.write(load_reference(standard, root=root), path)
    for name in NAMES:
        if name.endswith("of-real"):
            with pytest.raises(DataError, match="--data"):
                measure(line(name), stub.Sampler())
        else:
            assert math.isfinite(measure(line(name), stub.Sampler()))


def test_lines_without_the_network_fail_but_do_not_stop_verify(root, monkeypatch):
    from zoo.verify import _check_metric

    def missing(*unused):
        raise WeightsError("there are no weights", next_step="train them")

    monkeypatch.setattr(room, "load_network", missing)
    check = _check_metric(stub.Sampler(), line("frechet-resnet20"), root)
    assert not check.ok and check.measured is None and "train them" in check.note


@pytest.mark.parametrize("name", NAMES)
def test_tolerances_fall_with_the_number_of_images(name):
    few, many = (tolerance(line(name, n=n, value=5.0)) for n in (2_500, 10_000))
    assert few == pytest.approx(2 * many) and 0 < many < 0.5
