"""The command `zoo`: what it prints, where, and with which exit code."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from tests.sample_card import card_json, write_card
from zoo import cli, registry, weights
from zoo.errors import WeightsError
from zoo.verify import FileCheck, GoldenCheck, MetricCheck, Report

ROOT = Path(__file__).parents[1]
COMMANDS = ["list", "info", "fetch", "verify", "audit", "demo", "simulate", "publish"]


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """Three models as the registry, and 80 columns to show them in."""
    monkeypatch.setattr(registry, "cards_folder", lambda: tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    write_card(tmp_path, card_json("cnnf-robust", "adversarial", "clean"))
    write_card(tmp_path, card_json("cnnf-cifar"))
    write_card(tmp_path, card_json("controlled-faces", task="controllable-generation"))
    return tmp_path


def zoo_command(*arguments, **environment):
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "zoo", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
    )


def module(name):
    """A module of the zoo; the attribute of that name may be the function in it."""
    return importlib.import_module(f"zoo.{name}")


def words(text):
    """A table as one line, so that where it is broken does not matter."""
    return " ".join(text.split())


def test_list_shows_every_model_within_80_columns(cards, capsys):
    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for name in ("cnnf-robust", "cnnf-cifar", "controlled-faces"):
        assert sum(line.startswith(f"{name} ") for line in lines) == 1
    assert "accuracy 87.50%" in words("\n".join(lines))


def test_list_filters(cards, capsys):
    cli.main(["list", "cnnf*", "--pretrained", "--task", "image-classification", "--tag", "clean"])
    out = capsys.readouterr().out
    assert "cnnf-robust" in out
    assert "cnnf-cifar" not in out


def test_list_of_nothing_says_so(cards, capsys):
    assert cli.main(["list", "gan*"]) == 0
    assert "no model is like that" in capsys.readouterr().out


def test_list_for_machines(cards, capsys):
    cli.main(["list", "--json"])
    models = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert list(models) == zoo.list_models()
    robust = models["cnnf-robust"]
    assert robust["weights"] == ["adversarial", "clean"]
    assert (robust["default"], robust["parameters"], robust["bytes"]) == ("adversarial", 300, 1234)
    assert robust["headline"]["value"] == 0.875
    assert models["cnnf-cifar"]["headline"] is None


def test_info_shows_all_about_a_model_within_80_columns(cards, capsys):
    assert cli.main(["info", "cnnf-robust"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    for fact in (
        "cnnf(iterations=1)",
        "A. Author and B. Author: A Title. Some Conference 2020. arXiv 2007.09200.",
        "licence MIT",
        "Fashion-MNIST (MIT), https://example.org/data",
        "python recipes/cnnf_robust.py",
        "Weights cnnf-robust.adversarial (default)",
        "Weights cnnf-robust.clean",
        "1.2 kB, float16",
        "a" * 64,
        "1 min 0 s on 2 CPU cores",
        "87.50% 10,000",
        'zoo.create("cnnf-robust", pretrained=True)',
    ):
        assert fact in words(out)


def test_info_without_weights_says_so(cards, capsys):
    cli.main(["info", "cnnf-cifar"])
    out = capsys.readouterr().out
    assert "There are no weights yet" in out
    assert 'zoo.create("cnnf-cifar")' in out


def test_info_for_machines_is_the_card(cards, capsys):
    cli.main(["info", "cnnf-robust.clean", "--json"])
    assert json.loads(capsys.readouterr().out) == card_json("cnnf-robust", "adversarial", "clean")


def test_info_of_a_folder(cards, capsys):
    cli.main(["info", f"local-dir:{cards / 'cnnf-cifar'}", "--json"])
    assert json.loads(capsys.readouterr().out)["name"] == "cnnf-cifar"


def test_text_of_a_card_is_not_taken_for_markup(cards, capsys):
    write_card(cards, card_json("cnnf-cifar", summary="[red]An [x] and :smile:[/nope]"))
    cli.main(["info", "cnnf-cifar"])
    assert "[red]An [x] and :smile:[/nope]" in capsys.readouterr().out


def test_fetch_prints_the_path_alone(monkeypatch, capsys):
    monkeypatch.setattr(weights, "fetch", lambda name: Path("/somewhere") / name)
    assert cli.main(["fetch", "x"]) == 0
    assert capsys.readouterr().out == "/somewhere/x\n"


REPORT = Report(
    name="cnnf-robust",
    files=(FileCheck("model.safetensors", "/m", 6_600_000, "a" * 64, None),),
    golden=(GoldenCheck("output.logits", 2e-7, 1e-5),),
    metrics=(
        MetricCheck("fashion-mnist", "test", "accuracy", 10000, 0.9, 0.8995, 0.003, True, None),
        MetricCheck(
            "cifar-10", "test", "accuracy", 10000, 0.8, None, 0.004, True, "cifar-10 is not here"
        ),
    ),
)


def test_verify_shows_card_against_measured(monkeypatch, capsys):
    calls = []

    def verify(name, **options):
        options.pop("progress")("hashing the files")
        calls.append((name, options))
        return REPORT

    monkeypatch.setattr(module("verify"), "verify", verify)
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["verify", "cnnf-robust", "--metrics", "--data", "/data"]) == 0
    assert calls == [("cnnf-robust", {"metrics": True, "data": Path("/data")})]
    out, err = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= 80
    for fact in ("6.6 MB", "2.0e-07", "90.00% 89.95% 0.30% ok", "cifar-10 is not here"):
        assert fact in words(out)
    assert "cnnf-robust: ok" in out
    assert err == "hashing the files ...\n"


def test_verify_fails_when_a_file_is_wrong(monkeypatch, capsys):
    wrong = FileCheck("model.safetensors", "/m", 10, "a" * 64, "size: 10 expected, 9")
    report = Report("x", (wrong,), (), ())
    monkeypatch.setattr(module("verify"), "verify", lambda name, **options: report)
    assert cli.main(["verify", "x"]) == 1
    out = capsys.readouterr().out
    assert "size: 10 expected, 9" in out
    assert "x: WRONG" in out
    assert cli.main(["verify", "x", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_demo_passes_its_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(module("demo"), "run", lambda out, **options: calls.append((out, options)))
    assert cli.main(["demo"]) == 0
    assert cli.main(["demo", "--out", "x", "--images", "2", "--seed", "3", "--sample", "4"]) == 0
    numbers = {"images": 8, "seed": 0, "sample": 300, "attacked": 50, "generated": 1000}
    assert calls == [
        (Path("zoo-demo"), numbers),
        (Path("x"), numbers | {"images": 2, "seed": 3, "sample": 4}),
    ]


def test_publish_passes_its_options_on(monkeypatch, capsys):
    calls = []

    def publish(name, repo, **options):
        calls.append((name, repo, options))
        return registry.HubPin(repo, "d" * 40)

    monkeypatch.setattr(module("publish"), "publish", publish)
    assert cli.main(["publish", "x", "--repo", "acme/x", "--private"]) == 0
    assert calls == [("x", "acme/x", {"private": True, "dry_run": False})]
    assert capsys.readouterr().out == f"hf-hub:acme/x@{'d' * 40}\n"
    assert cli.main(["publish", "x", "--repo", "acme/x", "--dry-run"]) == 0
    assert calls[1] == ("x", "acme/x", {"private": False, "dry_run": True})
    assert "nothing was uploaded" in capsys.readouterr().out


def test_unknown_name_is_a_message_and_exit_code_2(cards, capsys):
    assert cli.main(["info", "cnf-robust"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "zoo info: error: Unknown model 'cnf-robust' (did you mean 'cnnf-robust'?)\n"


def test_other_trouble_is_a_message_and_exit_code_1(monkeypatch, capsys):
    def fail(name):
        raise WeightsError("no luck", file="model.safetensors", next_step="try again")

    monkeypatch.setattr(weights, "fetch", fail)
    assert cli.main(["fetch", "x"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("zoo fetch: error: no luck\n")
    assert "next step: try again" in err


def test_defect_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(weights, "fetch", lambda name: {}[name])
    with pytest.raises(KeyError):
        cli.main(["fetch", "x"])


def test_interrupt_ends_quietly(monkeypatch, capsys):
    def interrupt(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, "fetch", interrupt)
    assert cli.main(["fetch", "x"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("arguments", [[], ["lst"], ["info"], ["list", "--nope"], ["publish", "x"]])
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: zoo" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert f"examples:\n  zoo {command}" in out
    assert max(map(len, out.splitlines())) <= 80


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert f"{{{','.join(COMMANDS)}}}" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"zoo {zoo.__version__}\n"


@pytest.mark.parametrize("arguments", [["list"], ["info", "cnnf-robust"]])
def test_output_into_a_pipe_is_plain(arguments):
    done = zoo_command(*arguments, COLUMNS="80", PYTHONWARNINGS="error")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "cnnf-robust" in done.stdout


def test_no_color_is_respected_on_a_terminal():
    forced = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    cyan = "36m"
    assert cyan in zoo_command("info", "cnnf-robust", **forced).stdout
    assert cyan not in zoo_command("info", "cnnf-robust", NO_COLOR="1", **forced).stdout


def test_misspelt_name_leaves_no_traceback_and_imports_no_torch():
    code = (
        "import sys; from zoo.cli import main\n"
        "code = main(['fetch', 'cnf-robust'])\n"
        "print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "2 False\n"
    assert done.stderr.startswith("zoo fetch: error: Unknown model 'cnf-robust' (did you mean")


def test_listing_imports_no_torch():
    code = (
        "import sys; from zoo.cli import main\n"
        "main(['list']); main(['info', 'cnnf-robust']); main(['list', '--json'])\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)


def test_closed_pipe_is_no_traceback():
    command = f"{sys.executable} -m zoo list --json | true"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stderr == ""
