"""The command `zoo verify --metrics --task`: one table of all classifiers, made row by row."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.metrics.plane_classifier import EPSILON, Plane, planes
from tests.sample_card import card_json, weights_json, write_card
from zoo import _classifier_table as room
from zoo import cli, data, golden, models, registry
from zoo.errors import DataError
from zoo.metrics import classification, classifier_table
from zoo.metrics.classifier_table import METRICS, Score, from_csv
from zoo.training.tensors import fingerprint, serialise, stored

ROOT = Path(__file__).parents[1]
TASK = "image-classification"
SHORT = ["--images", "20", "--corrupted", "15"]


def card(root, name, *seeds, dataset="Planes"):
    """A card folder with weights `seed-<n>` of `Plane(seed=n)`; the first are the default."""
    entries, files = {}, {}
    for place, seed in enumerate(seeds):
        tag, infix = f"seed-{seed}", f".seed-{seed}" if place else ""
        files[f"model{infix}.safetensors"] = serialise(stored(Plane(seed=seed), "float32"))
        files[f"golden{infix}.safetensors"] = serialise(golden.make(Plane(seed=seed), TASK))
        model, exact = (files[f"{kind}{infix}.safetensors"] for kind in ("model", "golden"))
        entries[tag] = weights_json(
            tag,
            default=not place,
            dtype="float32",
            **fingerprint(model),
            golden={"file": f"golden{infix}.safetensors", **fingerprint(exact)},
        )
    plain = card_json(name, architecture="plane", config={}, weights=entries)
    plain["default"] = next(iter(entries), None)
    plain["data"]["name"] = dataset
    folder = write_card(root, plain)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return folder


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """Two classifiers with three weights and one without, on small images that are here."""
    monkeypatch.setitem(models.ARCHITECTURES, "plane", "tests.metrics.plane_classifier:Plane")
    monkeypatch.setattr(data, "DATASETS", {"planes": planes})
    monkeypatch.setitem(classification.EPSILON, "planes", EPSILON)
    root, work = tmp_path / "model_cards", tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr(registry, "cards_folder", lambda: root)
    monkeypatch.chdir(work)
    monkeypatch.setenv("COLUMNS", "80")
    card(root, "first", 0, 1)
    card(root, "second", 2)
    card(root, "third")
    write_card(root, card_json("faces", "one", task="controllable-generation"))
    return root


@pytest.fixture
def measured(monkeypatch):
    """The models that were measured, as a list that grows; quickly, with numbers of the weights."""
    calls = []

    def measure(model, dataset, protocol, *rest):
        calls.append(model)
        value = round(float(model.weight.detach().sigmoid().mean()), 6)
        return tuple(Score(metric, protocol.attacked, value, 0.01) for metric in METRICS)

    monkeypatch.setattr(classifier_table, "measure", measure)
    return calls


def run(*arguments):
    return cli.main(["verify", "--metrics", "--task", TASK, *SHORT, *arguments])


def files(folder=room.FOLDER):
    return {path.name: path.read_text() for path in Path(folder).iterdir()}


def rows(folder=room.FOLDER):
    return {row.name: row for row in from_csv((Path(folder) / room.CSV).read_text())}


def away(root, split):
    raise DataError(f"the images are not below {root}")


NAMES = ["first.seed-0", "first.seed-1", "second.seed-2"]


def test_a_table_of_all_weights_is_printed_and_written(cards, capsys):
    assert run() == 0
    out, err = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= 80
    assert set(files()) == {room.CSV, room.MARKDOWN}
    assert list(rows()) == NAMES
    for name, row in rows().items():
        tag = registry.info(name).weights[name.split(".")[1]]
        assert row.sha256 == tag.sha256
        clean = row["accuracy"]
        (line,) = (line for line in out.splitlines() if line.startswith(name))
        assert f"{100 * clean.value:.1f} ± {100 * clean.standard_error:.1f}" in line
        assert f"| `{name}` | planes | {100 * clean.value:.1f} ±" in files()[room.MARKDOWN]
    assert "n = 60 / 15 / 20; epsilon 0.02" in out
    assert "upper bound" in out and "zoo audit NAME is the worst case" in out
    assert "third has no weights yet." in out
    assert "- `third` has no weights yet." in files()[room.MARKDOWN]
    command = f"zoo verify --metrics --task {TASK} --images 20 --corrupted 15"
    assert f"`{command}`" in files()[room.MARKDOWN]
    assert {row.command for row in rows().values()} == {command}
    assert "[2/3] first.seed-1: accuracy-pgd40 on 20 images of planes ...\n" in err


def test_what_is_known_is_not_measured_again(cards, measured, capsys):
    run()
    before, shown = files(), capsys.readouterr().out
    assert len(measured) == 3
    assert run() == 0
    out, err = capsys.readouterr()
    assert len(measured) == 3
    assert files() == before and out == shown
    assert "[3/3] second.seed-2: known already ..." in err


def test_new_weights_cost_only_their_own_row(cards, measured):
    run()
    before = rows()
    card(cards, "second", 3)
    card(cards, "fourth", 4)
    run()
    assert len(measured) == 3 + 2
    assert list(rows()) == ["first.seed-0", "first.seed-1", "fourth.seed-4", "second.seed-3"]
    assert rows()["first.seed-1"] == before["first.seed-1"]


@pytest.mark.parametrize("change", ["weights", "settings", "images", "corruption"])
def test_what_a_row_depends_on_makes_it_be_measured_again(cards, measured, change, monkeypatch):
    run()
    more = []
    path = cards / "second" / "config.json"
    plain = json.loads(path.read_text())
    if change == "weights":
        content = serialise(stored(Plane(seed=9), "float32"))
        exact = serialise(golden.make(Plane(seed=9), TASK))
        entry = plain["weights"]["seed-2"]
        entry.update(fingerprint(content))
        entry["golden"].update(fingerprint(exact))
        (cards / "second" / "model.safetensors").write_bytes(content)
        (cards / "second" / "golden.safetensors").write_bytes(exact)
    elif change == "settings":
        # Other settings of the weights; they happen to change nothing that they give.
        plain["weights"]["seed-2"]["config"] = {"seed": 5}
    elif change == "images":
        more = ["--images", "21"]
    else:
        monkeypatch.setattr(classifier_table, "SEED", 1)
    path.write_text(json.dumps(plain))
    assert run(*more) == 0
    assert len(measured) == 3 + (1 if change in ("weights", "settings") else 3)


def test_a_killed_run_goes_on(cards, measured, monkeypatch):
    run()
    whole = files()
    (room.FOLDER / room.CSV).unlink()
    inner = classifier_table.measure

    def killed(model, *arguments):
        if len(measured) == 3 + 2:
            raise KeyboardInterrupt
        return inner(model, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(classifier_table, "measure", killed)
        assert run() == 130
    assert list(rows()) == NAMES[:2]
    assert run() == 0
    assert len(measured) == 3 + 2 + 1
    assert files() == whole


def test_rows_that_a_killed_run_did_not_reach_stay_known(cards, measured, monkeypatch):
    run()
    card(cards, "first", 7, 1)

    def killed(*arguments):
        raise KeyboardInterrupt

    (room.FOLDER / room.MARKDOWN).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(room, "_check", lambda name, say: name == "first.seed-7" or killed())
        assert run() == 130
    assert list(rows()) == ["first.seed-7", "first.seed-1", "second.seed-2"]
    run()
    assert len(measured) == 3 + 1


@pytest.mark.parametrize("known", [True, False])
def test_a_damaged_file_is_a_row_and_the_others_go_on(cards, measured, capsys, known):
    if known:
        run()
    path = cards / "first" / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert run() == 1
    out = capsys.readouterr().out
    assert len(measured) == (3 if known else 2)
    assert list(rows()) == NAMES
    assert "sha256" in rows()["first.seed-0"].error and not rows()["first.seed-0"].scores
    assert "first.seed-0" in out and "failed" in out
    assert "- `first.seed-0` failed: " in files()[room.MARKDOWN]
    path.write_bytes(content)
    assert run() == 0
    assert rows()["first.seed-0"].complete


def test_outputs_other_than_the_golden_ones_fail(cards, capsys):
    exact = serialise(golden.make(Plane(seed=8), TASK))
    path = cards / "second" / "config.json"
    plain = json.loads(path.read_text())
    plain["weights"]["seed-2"]["golden"].update(fingerprint(exact))
    path.write_text(json.dumps(plain))
    (cards / "second" / "golden.safetensors").write_bytes(exact)
    assert run() == 1
    assert "golden" in rows()["second.seed-2"].error
    assert rows()["first.seed-0"].complete


def test_a_model_that_does_not_fit_its_images_fails_alone(cards, monkeypatch):
    def small(root, split):
        whole = planes(root, split)
        return data.ImageDataset("s", split, whole.images[..., :7], whole.labels, whole.classes)

    monkeypatch.setitem(data.DATASETS, "small", small)
    monkeypatch.setitem(classification.EPSILON, "small", EPSILON)
    card(cards, "second", 2, dataset="Small")
    assert run() == 1
    assert [row.error is None for row in rows().values()] == [True, True, False]


def test_without_its_data_set_a_model_is_left_out_and_that_is_no_fault(cards, capsys, monkeypatch):
    monkeypatch.setitem(data.DATASETS, "far-away", away)
    card(cards, "second", 2, dataset="Far Away")
    assert run("--data", "nowhere") == 0
    out, err = capsys.readouterr()
    assert list(rows()) == NAMES[:2]
    note = "second.seed-2 is left out: far-away is not here (--data DIR)."
    assert note in out and "the images are not below nowhere" in err


def test_a_sample_stands_in_until_the_whole_set_is_here(cards, measured, monkeypatch):
    monkeypatch.setitem(data.DATASETS, "planes", away)
    monkeypatch.setitem(data.DATASETS, "some-planes", planes)
    monkeypatch.setitem(classification.EPSILON, "some-planes", EPSILON)
    monkeypatch.setitem(room.STAND_IN, "planes", "some-planes")
    run()
    assert {row.dataset for row in rows().values()} == {"some-planes"}
    monkeypatch.setitem(data.DATASETS, "planes", planes)
    run()
    assert {row.dataset for row in rows().values()} == {"planes"}
    assert len(measured) == 6
    # What was measured on the whole set stays when it has gone.
    monkeypatch.setitem(data.DATASETS, "planes", away)
    run()
    assert {row.dataset for row in rows().values()} == {"planes"}
    assert len(measured) == 6


def test_for_machines(cards, capsys):
    assert run("--json", "--out", "here") == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["task"], printed["ok"], printed["folder"]) == (TASK, True, "here")
    assert [row["name"] for row in printed["rows"]] == printed["measured"] == NAMES
    score = printed["rows"][0]["scores"][0]
    clean = rows("here")["first.seed-0"]["accuracy"]
    assert score["metric"] == "accuracy" and score["value"] == clean.value and score["n"] == 60
    assert printed["notes"] == ["`third` has no weights yet."]


def test_two_at_once_do_not_share_a_folder(cards, capsys):
    room.FOLDER.mkdir()
    with FileLock(room.FOLDER / room.LOCK):
        assert run() == 1
    assert "another process is at work there" in capsys.readouterr().err


def test_a_file_of_another_kind_is_not_overwritten(cards, capsys):
    room.FOLDER.mkdir()
    path = room.FOLDER / room.CSV
    path.write_text("a,b\n1,2\n")
    assert run() == 1
    err = capsys.readouterr().err
    assert f"{path}: expected the columns" in err and "use another --out" in err
    assert path.read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], f"give the name of a model, or --metrics --task {TASK}"),
        (["--metrics"], f"give the name of a model, or --metrics --task {TASK}"),
        (["first", "--metrics", "--task", TASK], "a name and --task exclude each other"),
        (["--task", TASK], "give --metrics, too"),
        (["first", "--metrics", "--images", "3"], "belong to --task"),
        (["first", "--out", "x"], "belong to --task"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(arguments, text, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["verify", *arguments])
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert "usage: zoo verify" in err and text in err


@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        (["--task", "forecasting"], f"no table for forecasting, only for {TASK}", 2),
        (["--task", "image-clasification"], f"did you mean '{TASK}'", 2),
        (["--task", TASK, "--images", "0"], "attacked images must be at least 1, found 0", 1),
    ],
)
def test_what_cannot_be_is_said_before_the_work(cards, capsys, arguments, text, code):
    assert cli.main(["verify", "--metrics", *arguments]) == code
    assert text in capsys.readouterr().err
    assert not room.FOLDER.exists()


def test_more_images_than_there_are_fail_row_by_row(cards):
    assert run("--images", "61") == 1
    assert all("has 60 images, not 61" in row.error for row in rows().values())


def test_wrong_usage_never_waits_for_torch():
    code = (
        "import sys; from zoo.cli import main\n"
        "code = main(['verify', '--metrics', '--task', 'forecasting'])\n"
        "print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "2 False\n"
