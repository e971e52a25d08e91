"""The folder that the demo writes, and how it treats what is there already."""

import io
import re
import shutil
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image
from rich.console import Console

from tests import rendering_model, robot_models
from zoo import demo
from zoo.data.fashion_mnist import fashion_mnist_sample
from zoo.demo import pictures
from zoo.demo.feedback.measure import choose
from zoo.demo.page import MARKER
from zoo.models.cnf import CNF
from zoo.models.cnnf import CNNF
from zoo.models.dcgan import DCGAN
from zoo.models.latent_ode import LatentODE

SHEETS = {
    *("noise.png", "samples.png", "game.png", "flows.png", "spirals.png"),
    *("controls.png", "edits.png", "renderings.png", "labels.png"),
}
CURVES = {"severity.png", "errors.png", "epsilon.png"}
SMALL = {
    "images": 2,
    "sample": 4,
    "attacked": 2,
    "kinds": ("noise",),
    "generated": 3,
    "points": 2,
    "spirals": 2,
    "grid": 0,
    "scenes": 2,
    "rendered": 2,
}


@pytest.fixture(scope="module")
def models() -> dict[str, CNNF]:
    torch.manual_seed(0)
    return {
        "cnnf": CNNF(feedback_to=0, iterations=2).eval(),
        "cnn": CNNF(iterations=0).eval(),
    }


@pytest.fixture(scope="module")
def generators() -> dict[str, DCGAN]:
    torch.manual_seed(0)
    return {name: DCGAN(latent=4, width=2).eval() for name in ("one", "two")}


@pytest.fixture(scope="module")
def equations() -> dict[str, object]:
    torch.manual_seed(0)
    return {
        "flows": {name: CNF(2, (4, 4)).eval() for name in ("moons", "circles")},
        "forecaster": LatentODE(hidden=4, recurrent=4).eval(),
        "control": robot_models.control(32),
        "editor": robot_models.editor(32),
        "renderer": rendering_model.renderer(),
    }


@pytest.fixture(scope="module")
def finished(models, generators, equations, tmp_path_factory) -> tuple[demo.DemoResult, str]:
    """A small demo, and what it printed."""
    console = Console(file=io.StringIO(), width=80)
    out = tmp_path_factory.mktemp("demo") / "out"
    given = {"models": models, "generators": generators, **equations}
    result = demo.run(out, console=console, **given, **SMALL)
    return result, console.file.getvalue()


def test_the_folder_holds_a_sheet_for_every_kind_the_curves_and_the_page(finished):
    result, _ = finished
    assert {path.name for path in result.folder.iterdir()} == SHEETS | CURVES | {"index.html"}
    assert {path.name for path in result.pictures} == SHEETS | CURVES
    for path in result.pictures:
        with Image.open(path) as picture:
            assert picture.format == "PNG" and min(picture.size) > 300
    assert [path.name for path in result.folder.parent.iterdir()] == ["out"]


def test_tables_and_the_path_of_the_page_are_printed(finished):
    result, printed = finished
    lines = printed.rstrip().splitlines()
    assert lines[-1] == str(result.index)
    for condition in ("clean", "noise 1", "noise 5", "epsilon 0.025"):
        assert any(condition in line and "±" in line for line in lines)
    for contender in result.players.contenders:
        distance = f"{contender.scores.frechet:.2f}"
        assert any(contender.name in line and distance in line for line in lines)
    for score in result.flows.scores:
        assert any(score.name in line and f"{score.kl.mean:.4f}" in line for line in lines)
    for count, error in result.series.errors.items():
        assert any(f"{count} of 100" in line and f"{error.rmse:.3f}" in line for line in lines)
    for reading in result.controls.readings:
        right = f"{100 * reading.right:.0f} %"
        assert any(reading.factor.name in line and right in line for line in lines)
    for outcome in result.renderings.outcomes:
        assert any(f"{outcome.error:.4f}" in line for line in lines)
    assert "neither FID nor Inception score" in " ".join(lines)
    assert all(len(line) <= 80 for line in lines[:-1])


def test_every_condition_is_scored_on_every_image(finished):
    result, _ = finished
    conditions = [f"noise {severity}" for severity in range(1, 6)]
    assert [score.condition for score in result.feedback.scores] == ["clean", *conditions]
    for score in result.feedback.scores:
        assert score.accuracy.n == 4 and (4 * score.accuracy.cnn).is_integer()
        assert len(score.errors) == 3
    assert [row.epsilon for row in result.feedback.attacks] == [0, 0.025, 0.05, 0.1, 0.15, 0.2]
    assert {row.accuracy.n for row in result.feedback.attacks} == {2}


def test_the_page_needs_nothing_but_itself(finished):
    text = finished[0].index.read_text(encoding="utf-8")
    assert MARKER in text and 'name="viewport"' in text and "prefers-color-scheme: dark" in text
    assert "<script" not in text and "http" not in text
    sources = re.findall(r'src(?:set)?="([^"]*)"', text)
    # Two images x (clean, corrupted, two reconstructions) x five severities; six figures for a
    # light and six for a dark page; three samples of two generators; traversals of three factors,
    # three rows of two scenes, and one scene with two edits of two factors; two images with their
    # latents and renderings, and under ten labels.
    controls = (3 + 8 + 4) + 3 * 2 + 1 * (1 + 2 * 2)
    assert len(sources) == 2 * 4 * 5 + 12 + 2 * 3 + controls + 2 * 9 + 2 * 11
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert text.count(" alt=") == text.count("<img")


def test_the_page_is_well_formed(finished):
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag not in {"meta", "img", "source"}:
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Checker().feed(finished[0].index.read_text(encoding="utf-8"))
    assert open_tags == []


def test_links_of_the_page_lead_to_its_sections(finished):
    text = finished[0].index.read_text(encoding="utf-8")
    links = re.findall(r'href="#([^"]*)"', text)
    assert (
        links
        == re.findall(r'<section id="([^"]*)"', text)
        == [
            "feedback",
            "players",
            "flows",
            "series",
            "turbulence",
            "controls",
            "renderings",
        ]
    )


def test_a_second_run_replaces_the_first_and_gives_the_same(
    finished, models, generators, equations, tmp_path
):
    out = tmp_path / "a folder" / "démo"
    shutil.copytree(finished[0].folder, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "noise.png").write_bytes(b"of an older run")
    console = Console(file=io.StringIO())
    given = {"models": models, "generators": generators, **equations}
    demo.run(out, console=console, **given, **SMALL)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in out.parent.iterdir()] == ["démo"]


def test_without_attacks_there_is_no_word_of_them(models, tmp_path):
    console = Console(file=io.StringIO())
    settings = SMALL | {"attacked": 0, "kinds": ("blur",), "seed": 1}
    settings |= {"generated": 0, "points": 0, "spirals": 0, "scenes": 0, "rendered": 0}
    result = demo.run(tmp_path / "x", models=models, console=console, **settings)
    assert {path.name for path in result.folder.iterdir()} == {
        "blur.png",
        "severity.png",
        "errors.png",
        "game.png",
        "index.html",
    }
    assert result.feedback.attacks == () and "epsilon" not in console.file.getvalue()
    assert "Under attack" not in result.index.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["notes.txt", "index.html", "noise.png", ".hidden"])
def test_a_folder_that_is_no_demo_is_left_alone(models, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(demo.DemoError, match="not overwritten"):
        demo.run(tmp_path, models=models, **SMALL)
    assert (tmp_path / name).read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_demo_with_a_file_of_the_users_is_left_alone(models, tmp_path):
    (tmp_path / "index.html").write_text(MARKER)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(demo.DemoError, match=r"notes\.txt"):
        demo.run(tmp_path, models=models, **SMALL)


def test_a_place_that_cannot_be_written_is_named_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "demo"):
        with pytest.raises(demo.DemoError, match="file"):
            demo.run(out, models={"cnnf": None, "cnn": None})


def test_a_failure_leaves_nothing_behind(models, tmp_path):
    def broken(images):
        raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        demo.run(tmp_path / "out", models={"cnnf": models["cnnf"], "cnn": broken}, **SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"images": 0}, "images must be 1 to 4, found 0"),
        ({"images": 5}, "images must be 1 to 4, found 5"),
        ({"sample": 0}, "sample must be 1 to 1000"),
        ({"sample": 1001}, "sample must be 1 to 1000"),
        ({"attacked": -1}, "attacked must be 0 to 1000"),
        ({"attacked": 1001}, "attacked must be 0 to 1000"),
        ({"generated": 1}, "generated must be 0 or at least 2, found 1"),
        ({"points": 1}, "points must be 0 or at least 2, found 1"),
        ({"spirals": 1}, "spirals must be 0 or at least 2, found 1"),
        ({"grid": 33}, "grid must be 0 or an even number from 12 to 128, found 33"),
        ({"scenes": 17}, "scenes must be 0 to 16, found 17"),
        ({"rendered": 11}, "rendered must be 0 to 10, found 11"),
        ({"kinds": ("noise", "rust")}, "found noise, rust"),
        ({"kinds": ()}, "found none"),
        ({"kinds": ("blur", "blur")}, "each once"),
    ],
)
def test_settings_out_of_range_are_refused(models, tmp_path, settings, words):
    with pytest.raises(demo.DemoError, match=words):
        demo.run(tmp_path / "out", models=models, **SMALL | settings)


def test_pictures_for_cards_are_small_and_are_described(models, tmp_path, monkeypatch, capsys):
    def untrained(names):
        assert names[0].startswith("cnnf-robust")
        return pictures.Pair.given(models)

    monkeypatch.setattr(pictures, "pretrained", untrained)
    numbers = ["--sample", "4", "--kinds", "noise"]
    pictures.main(["--out", str(tmp_path), *numbers])
    names = ["restoration.png", "severity.png", "errors.png", "epsilon.png"]
    paths = [tmp_path / name for name in names]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [str(path) for path in paths] and len(lines) == 7
    assert set(tmp_path.iterdir()) == set(paths)
    assert all(path.stat().st_size < 120_000 for path in paths)


def test_every_class_is_shown_once_before_one_comes_again():
    sample = fashion_mnist_sample()
    for seed in range(5):
        shown = choose(sample, 20, seed)
        assert len(set(shown)) == 20
        for part in (shown[:10], shown[10:]):
            assert sorted(sample.labels[part].tolist()) == list(range(10))
    assert choose(sample, 5, 0) == choose(sample, 20, 0)[:5] != choose(sample, 5, 1)
