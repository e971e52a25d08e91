import pytest
import torch
from torch import nn

from zoo import data
from zoo.data.fashion_mnist import fashion_mnist_sample
from zoo.errors import DataError, UnknownNameError
from zoo.metrics import MEASURES, measure, tolerance
from zoo.metrics.classification import EPSILON
from zoo.metrics.robustness import accuracy, robust_accuracy
from zoo.registry import Metric


class Templates(nn.Module):
    """Nearest class mean: logits are the correlation with the mean image of each class.

    `iterations` only scales the logits, so that it never changes a prediction but is seen by tests.
    """

    def __init__(self) -> None:
        super().__init__()
        sample = fashion_mnist_sample()
        images = data.as_float(sample.images).flatten(1)
        means = torch.stack([images[sample.labels == k].mean(0) for k in range(10)])
        self.weight = nn.Parameter(means)
        self.calls: list[int | None] = []

    def forward(self, images, iterations=None):
        self.calls.append(iterations)
        return images.flatten(1) @ self.weight.T - 0.5 * self.weight.square().sum(1)


@pytest.fixture(scope="module")
def model() -> Templates:
    return Templates().eval()


@pytest.fixture(scope="module")
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    head = fashion_mnist_sample().head(200)
    return data.as_float(head.images), head.labels


def metric(name: str, n: int = 200, **changes) -> Metric:
    fields = {
        "dataset": "fashion-mnist-sample",
        "split": "test",
        "metric": name,
        "value": 0.8,
        "n": n,
        "command": "zoo verify x --metrics",
    }
    return Metric(**(fields | changes))


def test_the_contracts_names_exist():
    names = {"accuracy", "accuracy-pgd40", "accuracy-pgd40-first-pass"}
    names |= {f"accuracy-{k}-{s}" for k in ("noise", "blur", "occlusion") for s in (1, 2, 3)}
    names |= {"accuracy-first-pass", "accuracy-first-pass-stripe-5"}
    assert names <= MEASURES.keys()


def test_accuracy_is_measured_on_the_first_n_images(model, pairs):
    images, labels = pairs
    assert measure(metric("accuracy"), model) == accuracy(model, images, labels)
    assert measure(metric("accuracy", n=7), model) == accuracy(model, images[:7], labels[:7])
    assert measure(metric("accuracy", n=1000), model) > 0.5


@pytest.mark.parametrize("kind", ["noise", "blur", "occlusion"])
def test_a_corruption_is_applied_before_scoring(model, pairs, kind):
    images, labels = pairs
    expected = accuracy(model, data.corrupt(images, kind, 3), labels)
    assert measure(metric(f"accuracy-{kind}-3"), model) == expected


def test_the_first_pass_is_scored_without_feedback(model, pairs):
    images, labels = pairs
    model.calls.clear()
    clean = measure(metric("accuracy-first-pass"), model)
    blurred = measure(metric("accuracy-first-pass-blur-3"), model)
    assert model.calls == [0, 0]
    assert clean == accuracy(model, images, labels)
    assert blurred == accuracy(model, data.corrupt(images, "blur", 3), labels) != clean


def test_pgd_is_at_least_as_strong_as_one_step_of_it(model, pairs):
    images, labels = (part[:50] for part in pairs)
    weak = robust_accuracy(model, images, labels, epsilon=0.02, step=0.02, steps=1)
    strong = measure(metric("accuracy-pgd40", n=50), model)
    assert strong <= weak < accuracy(model, images, labels)
    assert measure(metric("accuracy-pgd40", n=50), model) == strong


@pytest.mark.parametrize(
    ("name", "attacked"), [("accuracy-pgd40", None), ("accuracy-pgd40-first-pass", 0)]
)
def test_an_attack_sees_the_pass_that_its_name_says(model, name, attacked):
    model.calls.clear()
    measure(metric(name, n=3), model)
    assert model.calls == [attacked] * 40 + [None]


def test_measuring_leaves_no_gradients_behind(model):
    measure(metric("accuracy-pgd40", n=3), model)
    assert model.weight.grad is None


def test_an_unknown_metric_or_data_set_is_refused(model):
    with pytest.raises(UnknownNameError, match="did you mean 'accuracy'"):
        measure(metric("acuracy"), model)
    with pytest.raises(UnknownNameError, match="did you mean 'restoration-blur-1'"):
        tolerance(metric("restoration-blurr-1", value=12.3))
    with pytest.raises(UnknownNameError, match="fashion-mnist-sample"):
        measure(metric("accuracy", dataset="fashion"), model)


def test_a_data_set_without_a_radius_is_not_attacked(model, monkeypatch):
    monkeypatch.setattr("zoo.metrics.classification.EPSILON", {})
    with pytest.raises(DataError, match="fashion-mnist-sample"):
        measure(metric("accuracy-pgd40"), model)


def test_every_radius_belongs_to_a_data_set():
    assert EPSILON.keys() <= data.DATASETS.keys()


def test_missing_data_are_reported_by_the_data_set(model, tmp_path):
    with pytest.raises(DataError, match=str(tmp_path)):
        measure(metric("accuracy", dataset="fashion-mnist"), model, tmp_path)


def test_the_tolerance_is_one_standard_error_but_never_less_than_an_image():
    assert tolerance(metric("accuracy", n=100, value=0.5)) == pytest.approx(0.05)
    assert tolerance(metric("accuracy", n=1000, value=1.0)) == 0.001
