"""The command `zoo audit`: what it prints and writes, and that its numbers can be made again."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.metrics.linear_views import LinearViews, pairs
from tests.sample_card import card_json, weights_json, write_card
from zoo import cli, data, models, registry
from zoo._audit import OptionError, record
from zoo.metrics.audit import read
from zoo.registry import Metric
from zoo.training.tensors import fingerprint, serialise, stored

ROOT = Path(__file__).parents[1]
SHORT = ["--images", "12", "--steps", "2", "--queries", "5", "--small", "4"]
RADIUS = ["--epsilon", "0.06", "--dataset", "tiny-images"]


def dataset(root, split):
    images, labels = pairs(20)
    return data.ImageDataset("tiny-images", split, (images * 255).byte(), labels, ("a", "b", "c"))


def card(root, name, seed, **changes):
    """A card folder with the weights `one` of `LinearViews(seed)`."""
    content = serialise(stored(LinearViews(seed), "float32"))
    entry = weights_json("one", dtype="float32", **fingerprint(content), **changes)
    config = {"seed": seed}
    folder = write_card(
        root,
        card_json(
            name, architecture="linear", config=config, default="one", weights={"one": entry}
        ),
    )
    (folder / "model.safetensors").write_bytes(content)
    return folder


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """Two models on small images, and an empty folder to work in."""
    monkeypatch.setitem(models.ARCHITECTURES, "linear", "tests.metrics.linear_views:LinearViews")
    monkeypatch.setattr(data, "DATASETS", {**data.DATASETS, "tiny-images": dataset})
    root, work = tmp_path / "model_cards", tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr(registry, "cards_folder", lambda: root)
    monkeypatch.chdir(work)
    monkeypatch.setenv("COLUMNS", "80")
    card(root, "views", 0)
    card(root, "other", 1)
    write_card(root, card_json("faces", task="controllable-generation"))
    return root


def run(*arguments):
    return cli.main(["audit", *arguments])


def test_an_audit_prints_a_table_and_writes_a_file(cards, capsys):
    assert run("views", *SHORT, *RADIUS, "--baseline", "other") == 0
    out, err = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= 80
    path = Path("zoo-audit/views.one/audit.json")
    assert str(path) in out
    found = read(path)
    assert (found.name, found.dataset, found.n, found.epsilon) == (
        "views.one",
        "tiny-images",
        12,
        0.06,
    )
    last = next(line for line in out.splitlines() if line.startswith("all of them"))
    score = found.worst["output"]
    assert f"{100 * score.accuracy:.1f} ± {100 * score.error:.1f}" in last
    for row in found.rows:
        assert any(line.startswith(f"{row.title} ") for line in out.splitlines())
    assert "output" in out and "first pass" in out
    assert "goes on" not in err


def test_a_second_audit_goes_on_from_the_first_and_says_so(cards, capsys):
    run("views", *SHORT, *RADIUS)
    first = capsys.readouterr().out
    run("views", *SHORT, *RADIUS)
    out, err = capsys.readouterr()
    assert out == first
    assert "zoo-audit/views.one: goes on after 100% that was done before" in err


def test_a_flag_is_explained(cards, capsys, monkeypatch):
    monkeypatch.setattr("zoo.metrics.consistency.ZERO_SHARE", -1.0)
    run("views", *SHORT, *RADIUS)
    out = " ".join(capsys.readouterr().out.split())
    assert "FLAG gradients without a gradient 0.0" in out
    assert "It may mean: attacks stand still" in out
    assert "1 of 9 checks failed" in out


def test_for_machines(cards, capsys):
    run("views", *SHORT, *RADIUS, "--out", "here", "--json")
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(Path("here/audit.json").read_text())


def test_options_reach_the_audit(cards):
    run("views", *SHORT, *RADIUS, "--seed", "3", "--batch-size", "5", "--out", "here")
    settings = read("here/audit.json").settings
    assert (settings.steps, settings.queries, settings.small) == (2, 5, 4)
    assert (settings.seed, settings.batch_size) == (3, 5)


def test_weights_of_ones_own(cards, tmp_path):
    file = tmp_path / "mine.safetensors"
    torch.manual_seed(0)
    file.write_bytes(serialise(stored(LinearViews(7), "float32")))
    run("views", *SHORT, *RADIUS)
    run("views", *SHORT, *RADIUS, "--weights", str(file))
    own, other = (read(f"zoo-audit/views.{part}/audit.json") for part in ("one", "mine"))
    assert other.name == "views mine.safetensors"
    assert other.facts["model"] != own.facts["model"]
    assert other.facts["images"] == own.facts["images"]


def old_line(metric, dataset="tiny-images"):
    return {
        "dataset": dataset,
        "split": "test",
        "metric": metric,
        "value": 0.125,
        "n": 9,
        "command": "zoo audit views.one --images 9",
    }


def test_recorded_lines_replace_those_of_an_older_audit_and_no_others(cards):
    kept = [
        old_line("accuracy"),
        old_line("robust-accuracy", "fashion-mnist"),
        old_line("robust-accuracyish"),
    ]
    gone = [old_line("robust-accuracy"), old_line("robust-accuracy-apgd-ce-of-old")]
    folder = card(cards, "views", 0, metrics=[kept[0], gone[0], kept[1], gone[1], kept[2]])
    before = json.loads((folder / "config.json").read_text())
    name = f"local-dir:{folder}#one"
    assert run(name, *SHORT, *RADIUS, "--baseline", "other", "--record", "--out", "a") == 0
    after = json.loads((folder / "config.json").read_text())
    lines = after["weights"]["one"].pop("metrics")
    before["weights"]["one"].pop("metrics")
    assert after == before
    assert lines[:3] == kept
    fresh = {line["metric"]: line["value"] for line in lines[3:]}
    found = read("a/audit.json")
    assert fresh["robust-accuracy"] == round(found.worst["output"].accuracy, 6)
    assert {"robust-accuracy-pgd40", "robust-accuracy-apgd-ce-baseline"} <= fresh.keys()


def test_the_recorded_command_makes_the_number_again(cards):
    assert run("views", *SHORT, *RADIUS, "--baseline", "other", "--record") == 0
    line = registry.info("views").weights["one"].metrics[-1]
    assert line.command == (
        "zoo audit views.one --images 12 --steps 2 --queries 5 --small 4 "
        "--epsilon 0.06 --baseline other.one --dataset tiny-images"
    )
    program, *arguments = shlex.split(line.command)
    assert program == "zoo"
    assert cli.main([*arguments, "--out", "again"]) == 0
    found = read("again/audit.json")
    assert line.metric == "robust-accuracy-first-pass"
    assert round(found.worst["first pass"].accuracy, 6) == line.value


def test_weights_that_changed_meanwhile_get_no_lines(cards):
    before = registry.info("views")
    path = card(cards, "views", 5) / "config.json"
    content = path.read_bytes()
    with pytest.raises(OptionError, match="audit again"):
        record(before, "one", (Metric("d", "test", "robust-accuracy", 0.5, 10, "zoo audit"),))
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        (["views", *RADIUS, "--images", "21"], "images must be 1 to 20 of tiny-images", 1),
        (["views", *RADIUS, "--images", "9", "--steps", "0"], "steps must be at least 1", 1),
        (["views", "--epsilon", "0"], "epsilon must lie in (0, 1]", 1),
        (["views", "--dataset", "tiny-images", "--images", "9"], "give --epsilon", 1),
        (["views", "--dataset", "tiny"], "no data set 'tiny'", 2),
        (["views", "--baseline", "othr"], "did you mean 'other'?", 2),
        (["faces"], "only image classifiers", 2),
        (["views", "--record", "--weights", "x"], "leave out --weights", 1),
        (["local-dir:nowhere"], "there is no folder", 2),
    ],
)
def test_what_cannot_be_is_said_before_the_work(cards, capsys, arguments, text, code):
    assert run(*arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("zoo audit: error: ")
    assert text in err
    assert not Path("zoo-audit").exists()


def test_a_model_without_weights_cannot_be_audited(cards, capsys):
    write_card(cards, card_json("views", architecture="linear", config={}))
    assert run("views", *RADIUS, "--images", "9") == 1
    assert "no pretrained weights" in capsys.readouterr().err


def test_help_shows_examples(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        run("--help")
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "examples:\n  zoo audit" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_misspelt_name_never_waits_for_torch():
    code = (
        "import sys; from zoo.cli import main\n"
        "codes = main(['audit', 'cnf-robust']), main(['audit', 'cnnf-robust', '--baseline', 'x'])\n"
        "print(codes, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "(2, 2) False\n"
