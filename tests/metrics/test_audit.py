"""The audit: counts against closed forms, and that being killed does not change it."""

import dataclasses
import json
from itertools import pairwise

import pytest
import torch
from filelock import FileLock

from tests.metrics.linear_views import EPSILON, VIEWS, LinearViews, pairs
from zoo.metrics import battery as rooms
from zoo.metrics.audit import AuditError, AuditSettings, audit, lines, read
from zoo.metrics.battery import pgd_step, views
from zoo.metrics.robustness import fgsm
from zoo.models.cnnf import CNNF

SETTINGS = AuditSettings(
    steps=25, queries=20, pgd_steps=25, small=10, batch_size=16, other_steps=(7, 30)
)
IMAGES, LABELS = pairs()
ATTACKS = [
    "clean",
    "noise",
    "fgsm",
    "pgd25",
    "pgd25-first-pass",
    "pgd25-last",
    "pgd25-baseline",
    "apgd-ce",
    "apgd-dlr",
    "apgd-ce-first-pass",
    "apgd-ce-baseline",
    "square",
]


class Stop(Exception):
    """The process is killed."""


def run(model=None, **changes):
    options = {"epsilon": EPSILON, "settings": SETTINGS, "dataset": "some"} | changes
    return audit(model or LinearViews(), IMAGES, LABELS, **options)


def timeless(found):
    return dataclasses.replace(found, seconds=0.0)


@pytest.fixture(scope="module")
def found():
    return run(baseline=LinearViews(5, feedback=False))


@pytest.mark.parametrize("view", VIEWS)
def test_the_worst_case_of_a_linear_view_is_the_closed_form(found, view):
    expected = LinearViews().withstands(view, IMAGES, LABELS, EPSILON)
    assert found.survived[view] == "".join("01"[int(right)] for right in expected)
    accuracy = float(expected.double().mean())
    assert 0.2 < accuracy < 0.9
    assert found.worst[view].accuracy == pytest.approx(accuracy)
    error = (accuracy * (1 - accuracy) / len(LABELS)) ** 0.5
    assert found.worst[view].error == pytest.approx(error)


def test_every_attack_has_a_row_and_every_view_a_column(found):
    assert [row.attack for row in found.rows] == ATTACKS
    assert found.views == VIEWS
    assert all(tuple(row.scores) == VIEWS for row in found.rows)


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_scored_on_images_made_against_another(found, view):
    model = LinearViews()
    made = fgsm(model, IMAGES, LABELS, epsilon=EPSILON)
    with torch.no_grad():
        clean = {name: see(IMAGES).argmax(1) == LABELS for name, see in views(model).items()}
        right = views(model)[view](made).argmax(1) == LABELS
    # What no view gets right is left alone, and counts as wrong.
    right &= torch.stack(list(clean.values())).any(0)
    row = {row.attack: row.scores for row in found.rows}
    assert row["fgsm"][view].accuracy == pytest.approx(float(right.double().mean()))
    assert row["clean"][view].accuracy == pytest.approx(float(clean[view].double().mean()))


def test_no_attack_leaves_less_than_the_worst_case(found):
    for row in found.rows:
        for view in VIEWS:
            assert row.scores[view].accuracy >= found.worst[view].accuracy
    assert found.rows[-1].scores == found.worst


def test_the_curve_of_a_linear_model_is_the_closed_form(found):
    assert [point.epsilon / EPSILON for point in found.curve] == pytest.approx(
        [0, 0.25, 0.5, 1, 1.5, 2]
    )
    for point in found.curve:
        right = LinearViews().withstands("output", IMAGES[:10], LABELS[:10], point.epsilon)
        assert point.score.accuracy == pytest.approx(float(right.double().mean()))


def test_an_honest_model_passes_every_check(found):
    names = [check.name for check in found.checks if not check.ok]
    assert names == []
    assert found.ok


def test_a_plain_model_has_one_view_and_no_attack_on_its_passes():
    found = run(LinearViews(feedback=False))
    assert found.views == ("output",)
    assert [row.attack for row in found.rows] == [
        name for name in ATTACKS if not name.endswith(("first-pass", "last", "baseline"))
    ]
    assert {check.name for check in found.checks}.isdisjoint({"end to end", "transfer"})


def test_the_views_of_cnnf():
    images = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    model = CNNF(iterations=2).eval()
    found = views(model)
    with torch.no_grad():
        logits = model.trajectory(images).logits
        torch.testing.assert_close(found["output"](images), torch.stack(logits).mean(0))
        torch.testing.assert_close(found["first pass"](images), logits[0])
        torch.testing.assert_close(found["last"](images), logits[-1])
    assert list(views(CNNF(iterations=2, prediction="last"))) == ["output", "first pass"]
    assert list(views(CNNF(iterations=0))) == ["output"]


def test_square_attacks_what_the_output_withstood(monkeypatch):
    seen = []

    def square(predict, images, labels, *, epsilon, queries, generator):
        seen.append(images)
        assert (epsilon, queries) == (EPSILON, 20)
        return images

    monkeypatch.setattr(rooms, "square", square)
    run()
    expected = LinearViews().withstands("output", IMAGES, LABELS, EPSILON)
    torch.testing.assert_close(torch.cat(seen), IMAGES[expected])


def test_what_only_square_finds_counts_and_is_flagged(monkeypatch):
    def square(predict, images, labels, *, epsilon, queries, generator):
        weight = LinearViews().weight.detach().mean(0).view(1, *images.shape[1:])
        away = torch.where(labels == 0, -1, 1)[:, None, None, None] * weight.sign()
        return (images + epsilon * away).clamp(0, 1)

    for name in ("fgsm", "pgd", "apgd"):
        monkeypatch.setattr(rooms, name, lambda predict, images, labels, **_: images)
    monkeypatch.setattr(rooms, "square", square)
    found = run()
    expected = LinearViews().withstands("output", IMAGES, LABELS, EPSILON)
    assert found.worst["output"].accuracy == pytest.approx(float(expected.double().mean()))
    (check,) = (check for check in found.checks if check.name == "square")
    assert not check.ok
    assert check.numbers["after"] == found.worst["output"].accuracy < check.numbers["before"]


def test_a_defective_attack_is_noticed(monkeypatch):
    monkeypatch.setattr(rooms, "fgsm", lambda predict, images, labels, **_: 1 - images)
    with pytest.raises(RuntimeError, match="fgsm is defective"):
        run()


def stopping(after):
    """A progress that kills the audit in its call number `after`."""
    calls = []

    def progress(stage):
        calls.append(stage)
        if len(calls) == after:
            raise Stop

    return progress


@pytest.mark.parametrize("batches", [1, 10])
def test_an_audit_that_is_killed_again_and_again_ends_the_same(found, tmp_path, batches):
    options = {"baseline": LinearViews(5, feedback=False), "folder": tmp_path}
    kills = 0
    while True:
        try:
            again = run(progress=stopping(1 + batches), **options)
            break
        except Stop:
            assert not (tmp_path / "audit.json").exists()
            kills += 1
    total = 3 * len(ATTACKS) + 8
    assert kills == total // batches
    assert timeless(again) == timeless(found)
    assert timeless(read(tmp_path / "audit.json")) == timeless(found)


def test_nothing_is_done_twice(tmp_path, monkeypatch):
    first = run(folder=tmp_path)
    for name in ("pgd", "apgd", "square"):
        monkeypatch.setattr(rooms, name, lambda *_, **__: pytest.fail("was done before"))
    stages = []
    assert run(folder=tmp_path, progress=stages.append) == first
    assert len(stages) == 1
    assert stages[0].resumed == stages[0].done == stages[0].total


def test_progress_reaches_the_end_with_the_result():
    stages = []
    found = run(progress=stages.append)
    assert (stages[0].done, stages[0].accuracy, stages[0].title) == (0, None, "")
    assert stages[-1].done == stages[-1].total
    assert stages[-1].accuracy == found.worst["output"].accuracy
    # Square is the last that the worst case knows of.
    accuracies = [stage.accuracy for stage in stages[3:]]
    assert all(b <= a for a, b in pairwise(accuracies))


def begin(folder):
    """Leave an audit behind that was killed after two batches."""
    with pytest.raises(Stop):
        run(folder=folder, progress=stopping(3))


def changed_model():
    model = LinearViews()
    with torch.no_grad():
        model.bias[0] += 1e-6
    return model


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("model", {"model": LinearViews(1)}),
        ("model", {"model": changed_model()}),
        ("baseline", {"baseline": LinearViews(2)}),
        ("epsilon", {"epsilon": 0.05}),
        ("settings", {"settings": dataclasses.replace(SETTINGS, seed=1)}),
    ],
)
def test_the_folder_of_another_audit_is_refused(tmp_path, what, options):
    begin(tmp_path)
    state = (tmp_path / "state.safetensors").read_bytes()
    with pytest.raises(AuditError, match=f"(?s)belongs to another audit.*{what}: expected"):
        run(folder=tmp_path, **options)
    assert (tmp_path / "state.safetensors").read_bytes() == state


def test_other_images_are_another_audit(tmp_path):
    begin(tmp_path)
    with pytest.raises(AuditError, match="images: expected"):
        audit(
            LinearViews(), IMAGES, 1 - LABELS, epsilon=EPSILON, settings=SETTINGS, folder=tmp_path
        )


def test_the_number_of_iterations_is_part_of_the_model(tmp_path):
    begin(tmp_path)
    model = LinearViews()
    model.iterations = 2
    with pytest.raises(AuditError, match="model: expected"):
        run(model, folder=tmp_path)


def test_a_damaged_state_is_an_error(tmp_path):
    begin(tmp_path)
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.raises(AuditError, match="not the state of an audit"):
        run(folder=tmp_path)


def test_two_audits_do_not_share_a_folder(tmp_path):
    with FileLock(tmp_path / "lock"), pytest.raises(AuditError, match="at work"):
        run(folder=tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditError, match="cannot be written"):
        run(folder=tmp_path / "file")


def test_draws_depend_on_seed_attack_and_batch(monkeypatch):
    seeds = []

    def start(images, epsilon, generator):
        seeds.append(generator.initial_seed())
        return images

    monkeypatch.setattr(rooms, "random_start", start)
    for seed in (0, 0, 1):
        with pytest.raises(Stop):
            run(settings=dataclasses.replace(SETTINGS, seed=seed), progress=stopping(7))
    # Three batches of noise in each run.
    assert len(seeds) == 9
    assert seeds[:3] == seeds[3:6]
    assert len(set(seeds)) == 6


def test_no_parameter_gets_a_gradient():
    model = LinearViews()
    with pytest.raises(Stop):
        run(model, progress=stopping(12))
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epsilon": 0.0}, "epsilon must be positive"),
        ({"model": LinearViews().train()}, "model is in training mode"),
        ({"baseline": LinearViews().train()}, "baseline is in training mode"),
    ],
)
def test_wrong_arguments_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        run(**options)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"batch_size": -1}, "batch_size must be at least 1"),
        ({"other_steps": (7, 0)}, "other_steps must be at least 1"),
        ({"curve": (0.5, 0.5)}, "curve must increase"),
        ({"curve": (-0.5, 0.5)}, "curve must increase"),
        ({"curve": ()}, "curve must increase"),
    ],
)
def test_wrong_settings_are_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        AuditSettings(**changes)


def test_the_step_of_pgd_can_cross_the_ball():
    assert pgd_step(0.1, 40) == pytest.approx(0.01)
    assert pgd_step(0.1, 100) == pytest.approx(0.01)
    assert pgd_step(0.1, 7) * 7 == pytest.approx(0.25)


def test_lines_are_those_of_the_output(found):
    made = {line.metric: line for line in lines(found, "zoo audit x")}
    assert list(made) == [
        "robust-accuracy",
        *(f"robust-accuracy-{name}" for name in ATTACKS[1:-1]),
        "robust-accuracy-first-pass",
    ]
    rows = {row.attack: row.scores["output"].accuracy for row in found.rows}
    assert made["robust-accuracy"].value == found.worst["output"].accuracy
    assert made["robust-accuracy-apgd-dlr"].value == rows["apgd-dlr"]
    assert made["robust-accuracy-first-pass"].value == found.worst["first pass"].accuracy
    line = made["robust-accuracy"]
    assert (line.dataset, line.split, line.n) == ("some", "test", len(LABELS))
    assert line.command == "zoo audit x"


def test_lines_need_a_data_set(found):
    with pytest.raises(ValueError, match="data set"):
        lines(dataclasses.replace(found, dataset=""), "zoo audit x")


def test_json_comes_back_as_it_was(found, tmp_path):
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(found.as_dict()))
    assert read(path) == found


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"format": 9}'])
def test_what_is_no_audit_is_refused(tmp_path, content):
    path = tmp_path / "audit.json"
    path.write_text(content)
    with pytest.raises(AuditError, match=r"audit\.json"):
        read(path)
    with pytest.raises(AuditError, match="cannot be read"):
        read(tmp_path / "none.json")


def test_rough_gradients_find_as_much_and_float32_decides():
    torch.manual_seed(0)
    model = CNNF(num_classes=3).eval()
    images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    labels = model(images).argmax(1)
    rough = rooms.in_bfloat16(model)(images)
    assert rough.dtype == torch.float32
    exact = model(images)
    assert 0 < (rough - exact).abs().max() < 0.1 * exact.abs().max()
    settings = dataclasses.replace(SETTINGS, steps=5, queries=5, pgd_steps=5, small=2)
    fine, coarse = (
        audit(
            model,
            images,
            labels,
            epsilon=0.02,
            settings=dataclasses.replace(settings, gradient_bits=bits),
            dataset="some",
        )
        for bits in (32, 16)
    )
    assert fine.rows[0] == coarse.rows[0]  # clean images, which are never seen in bfloat16
    assert abs(fine.worst["output"].accuracy - coarse.worst["output"].accuracy) <= 2 / 8
    with pytest.raises(ValueError, match="16 or 32"):
        dataclasses.replace(SETTINGS, gradient_bits=8)
