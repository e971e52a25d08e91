"""The table of classifiers: its numbers, its two forms, and the one that the repository shows."""

import math
from dataclasses import replace

import pytest
import torch

from tests.metrics.plane_classifier import EPSILON, N, Plane, planes
from zoo import _classifier_table, data, metrics, registry
from zoo.errors import DataError
from zoo.metrics import classification, classifier_table
from zoo.metrics.classifier_table import (
    ATTACKED,
    CLEAN,
    CORRUPTED,
    KINDS,
    METRICS,
    Protocol,
    Row,
    Score,
    TableError,
    from_csv,
    measure,
    radius,
    to_csv,
    to_markdown,
)
from zoo.registry import Metric

PROTOCOL = Protocol(corrupted=40, attacked=30)
COMMITTED = registry.cards_folder()


@pytest.fixture
def dataset(monkeypatch):
    """The small data set `planes`, with a usual radius."""
    monkeypatch.setattr(data, "DATASETS", {"planes": planes})
    monkeypatch.setitem(classification.EPSILON, "planes", EPSILON)
    return planes(None, "test")


def row(name="model.tag", **changes):
    """A complete row with other numbers for every metric."""
    scores = tuple(
        Score(metric, 100 + place, 0.5 + place / 100, 0.01 + place / 1000)
        for place, metric in enumerate(METRICS)
    )
    command = "zoo verify --metrics --task image-classification"
    plain = Row(name, "cifar-10", "0123456789abcdef" * 4, "ab" * 8, command, scores)
    return replace(plain, **changes)


# The numbers.


def test_clean_and_attacked_accuracies_are_those_of_the_closed_form(dataset):
    model = Plane()
    images, labels = data.as_float(dataset.images), dataset.labels
    scores = {score.metric: score for score in measure(model, "planes", PROTOCOL)}
    clean = float(model.withstands(images, labels, 0.0).double().mean())
    first = slice(0, PROTOCOL.attacked)
    hard = float(model.withstands(images[first], labels[first], EPSILON).double().mean())
    assert 0.1 < hard < clean - 0.1
    for metric, n, value in ((CLEAN, N, clean), (ATTACKED, 30, hard)):
        assert scores[metric].n == n
        assert scores[metric].value == pytest.approx(value, abs=1e-6)
        error = math.sqrt(value * (1 - value) / n)
        assert scores[metric].standard_error == pytest.approx(error, abs=1e-6)


def test_every_kind_is_measured_as_a_line_of_a_card_is(dataset):
    model = Plane()
    scores = measure(model, "planes", PROTOCOL)
    assert tuple(score.metric for score in scores) == METRICS
    named = {score.metric: score for score in scores}
    assert len({named[metric].value for metric in KINDS}) > 3
    for metric in (CLEAN, *KINDS, ATTACKED):
        line = Metric("planes", "test", metric, 0.0, named[metric].n, "")
        assert named[metric].value == pytest.approx(metrics.measure(line, model), abs=1e-6)


def test_mean_over_kinds_and_its_error_over_images(dataset):
    model = Plane()
    named = {score.metric: score for score in measure(model, "planes", PROTOCOL)}
    images, labels = data.as_float(dataset.images[:40]), dataset.labels[:40].tolist()
    shares = [0.0] * 40
    for kind in data.CORRUPTIONS:
        for index, image in enumerate(data.corrupt(images, kind, 3)):
            with torch.no_grad():
                found = int(model(image[None])[0].argmax())
            shares[index] += (found == labels[index]) / len(data.CORRUPTIONS)
    mean = sum(shares) / 40
    error = math.sqrt(sum((share - mean) ** 2 for share in shares) / 40) / math.sqrt(40)
    assert named[CORRUPTED].value == pytest.approx(mean, abs=1e-6)
    assert named[CORRUPTED].standard_error == pytest.approx(error, abs=1e-6)
    assert named[CORRUPTED].n == 40


def test_twelve_views_of_an_image_are_not_twelve_images(dataset):
    """Of a model that never looks, each kind gives the same result: no error gets smaller."""
    model = Plane()
    with torch.no_grad():
        model.weight.zero_()
        model.bias.fill_(1.0)
    named = {score.metric: score for score in measure(model, "planes", PROTOCOL)}
    assert 0.2 < named[CORRUPTED].value < 0.8
    alone = named["accuracy-noise-3"]
    assert replace(named[CORRUPTED], metric=alone.metric) == alone


def test_too_few_images_are_said_before_the_work(dataset):
    def no_work(line):
        raise AssertionError(line)

    for protocol in (Protocol(corrupted=N + 1, attacked=1), Protocol(corrupted=1, attacked=N + 1)):
        with pytest.raises(ValueError, match="has 60 images, not 61"):
            measure(Plane(), "planes", protocol, progress=no_work)


def test_a_data_set_without_a_radius_is_refused(dataset, monkeypatch):
    monkeypatch.delitem(classification.EPSILON, "planes")
    with pytest.raises(DataError, match="no attack radius"):
        measure(Plane(), "planes", PROTOCOL)


@pytest.mark.parametrize("wrong", [{"corrupted": 0}, {"attacked": -1}])
def test_numbers_of_images_are_positive(wrong):
    with pytest.raises(ValueError, match="must be at least 1"):
        Protocol(**wrong)


def test_whatever_changes_a_row_changes_its_digest(monkeypatch):
    built = {"architecture": "plane", "config": {"seed": 0}}
    digests = [
        PROTOCOL.digest("cifar-10", built),
        PROTOCOL.digest("fashion-mnist", built),
        PROTOCOL.digest("cifar-10", {**built, "config": {"seed": 1}}),
        replace(PROTOCOL, attacked=31).digest("cifar-10", built),
        replace(PROTOCOL, corrupted=41).digest("cifar-10", built),
    ]
    assert PROTOCOL.digest("cifar-10", dict(reversed(built.items()))) == digests[0]
    monkeypatch.setitem(classification.EPSILON, "cifar-10", 4 / 255)
    digests.append(PROTOCOL.digest("cifar-10", built))
    noise = replace(data.CORRUPTIONS["noise"], strengths=(0.1, 0.2, 0.25, 0.4, 0.5))
    monkeypatch.setitem(data.CORRUPTIONS, "noise", noise)
    digests.append(PROTOCOL.digest("cifar-10", built))
    assert len(set(digests)) == len(digests)


# CSV and Markdown.


def test_rows_come_back_from_csv_as_they_were():
    failed = row("other.tag", scores=(), error='a "file", with | and commas, is gone')
    rows = [row(), failed, row("third.tag", dataset="fashion-mnist")]
    assert from_csv(to_csv(rows)) == rows
    assert [each.complete for each in from_csv(to_csv(rows))] == [True, False, True]
    assert from_csv(to_csv([])) == []


def test_csv_says_seed_and_epsilon_where_they_matter():
    lines = to_csv([row()]).splitlines()
    assert len(lines) == 1 + len(METRICS)
    start, end = (
        "model.tag,cifar-10,test,",
        f",{'0123456789abcdef' * 4},{'ab' * 8},{row().command},",
    )
    assert lines[1] == f"{start}accuracy,100,0.5,0.01,,{end}"
    assert lines[2] == f"{start}accuracy-corrupted-3,101,0.51,0.011,,0{end}"
    assert lines[-1] == f"{start}accuracy-pgd40,114,0.64,0.024,0.0313725,0{end}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("standard_error", "error_of_it"),
        (",0.5,", ",half,"),
        (",0.5,", ",1.5,"),
        (",0.5,", ",nan,"),
        (",0.5,", ","),
        (",0.5,", ",0.5,0.5,"),
        (",100,", ",,"),
    ],
)
def test_what_is_no_table_is_refused(old, new):
    text = to_csv([row()])
    assert text.count(old) == 1
    with pytest.raises(TableError, match=r"expected the columns|line 2 is not a line"):
        from_csv(text.replace(old, new))


def test_a_row_that_lacks_a_line_is_not_complete():
    lines = to_csv([row()]).splitlines(keepends=True)
    (found,) = from_csv("".join(lines[:-1]))
    assert not found.complete


def test_markdown_has_a_line_for_each_row_and_says_what_it_means():
    failed = row("other.tag", scores=(), error="gone")
    text = to_markdown([row(), failed], ["`x` is left out."], "zoo verify --images 9")
    lines = text.splitlines()
    assert lines[0] == (
        "| Weights | Data | Clean | Corrupted | Noise | Blur | Occlusion "
        "| PGD-40 | ε | n | sha256 |"
    )
    assert lines[2] == (
        "| `model.tag` | cifar-10 | 50.0 ± 1.0 | 51.0 ± 1.1 | 52.0 ± 1.2 | 53.0 ± 1.3 | 54.0 ± 1.4 "
        "| 64.0 ± 2.4 | 8/255 | 100 / 101 / 114 | `0123456789ab` |"
    )
    assert lines[3].startswith("| `other.tag` | cifar-10 | failed | - |")
    assert len({line.count("|") for line in lines[:4]}) == 1
    for fact in ("`zoo verify --images 9`", "upper bound", "`zoo audit NAME` is the worst case"):
        assert fact in text
    assert text.endswith("\n\n- `x` is left out.\n")


def test_radius_is_in_grey_levels_where_they_are_whole():
    assert (radius("cifar-10"), radius("fashion-mnist")) == ("8/255", "0.1")


# The table of the repository.


def committed():
    return from_csv((COMMITTED / _classifier_table.CSV).read_text(encoding="utf-8"))


def test_readme_shows_the_table_of_the_repository():
    shown = (COMMITTED.parent / "README.md").read_text(encoding="utf-8")
    _, rest = shown.split("<!-- generated:classifiers -->\n")
    block, _ = rest.split("<!-- /generated:classifiers -->")
    assert block == (COMMITTED / _classifier_table.MARKDOWN).read_text(encoding="utf-8")


def test_markdown_of_the_repository_is_made_from_its_csv():
    rows = committed()
    text = (COMMITTED / _classifier_table.MARKDOWN).read_text(encoding="utf-8")
    assert text.startswith(to_markdown(rows, (), rows[0].command))


def test_table_of_the_repository_agrees_with_the_cards():
    """Where a card has the same metric of the same images."""
    compared = 0
    for each in committed():
        card, tag = registry.find(each.name)
        scores = {(each.dataset, score.metric, score.n): score for score in each.scores}
        for line in card.weights[tag].metrics:
            if score := scores.get((line.dataset, line.metric, line.n)):
                assert score.value == pytest.approx(line.value, abs=metrics.tolerance(line))
                compared += 1
    assert compared >= len(committed())


def test_table_of_the_repository_is_of_the_weights_of_today(tmp_path, monkeypatch):
    """If not: `zoo verify --metrics --task image-classification --data DIR --out model_cards`."""
    content = (COMMITTED / _classifier_table.CSV).read_bytes()
    (tmp_path / _classifier_table.CSV).write_bytes(content)

    def measured(*arguments):
        raise AssertionError("a row is missing or stale")

    monkeypatch.setattr(classifier_table, "measure", measured)
    monkeypatch.setattr(_classifier_table, "_check", lambda name, say: None)
    table = _classifier_table.run("image-classification", out=tmp_path, data=tmp_path / "none")
    assert table.measured == ()
    assert {each.name for each in table.rows} == {
        f"{card.name}.{tag}"
        for card in registry.cards().values()
        if card.task == "image-classification"
        for tag in card.weights
    }
    assert (tmp_path / _classifier_table.CSV).read_bytes() == content
