import base64
import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console

from zoo import demo
from zoo.data.fashion_mnist import CLASSES, fashion_mnist_sample
from zoo.demo.page import MARKER, write_page
from zoo.demo.scenes import Scene, Score, choose, scenes, scores
from zoo.demo.sheet import RIGHT, WRONG, draw_sheet, to_png
from zoo.models.cnnf import CNNF

SHEETS = {f"{kind}-{n}.png" for kind in ("noise", "blur", "occlusion") for n in (1, 2, 3)}


@pytest.fixture(scope="module")
def models() -> dict[str, CNNF]:
    torch.manual_seed(0)
    return {"cnnf": CNNF(iterations=1).eval(), "cnn": CNNF(iterations=0).eval()}


@pytest.fixture(scope="module")
def finished(models, tmp_path_factory) -> tuple[demo.DemoResult, str]:
    """A small demo, and what it printed."""
    console = Console(file=io.StringIO(), width=80)
    out = tmp_path_factory.mktemp("demo") / "out"
    result = demo.run(out, images=3, sample=40, models=models, console=console)
    return result, console.file.getvalue()


def scene(cnn: list[int], cnnf: list[int], corrupted: float = 0.2, rendered: float = 0.1) -> Scene:
    """Two black images, labels 0 and 1, with constant corruption and reconstructions."""
    clean = torch.zeros(2, 1, 28, 28)
    return Scene(
        "noise",
        2,
        clean,
        clean + corrupted,
        (clean + rendered, clean + 0.3, clean + 0.3),
        torch.tensor([0, 1]),
        torch.tensor(cnn),
        torch.tensor(cnnf),
    )


def test_the_folder_holds_a_sheet_for_every_corruption_and_the_page(finished):
    result, _ = finished
    assert {path.name for path in result.folder.iterdir()} == SHEETS | {"index.html"}
    assert {path.name for path in result.sheets} == SHEETS
    for sheet in result.sheets:
        with Image.open(sheet) as picture:
            assert picture.format == "PNG" and min(picture.size) > 300
    assert [path.name for path in result.folder.parent.iterdir()] == ["out"]


def test_the_table_and_the_path_of_the_page_are_printed(finished):
    result, printed = finished
    lines = printed.rstrip().splitlines()
    assert lines[-1] == str(result.index)
    for kind in ("clean", "noise 1", "blur 2", "occlusion 3"):
        assert any(kind in line and "±" in line for line in lines)
    assert all(len(line) <= 80 for line in lines[:-1])


def test_ten_conditions_are_scored_on_every_image(finished):
    result, _ = finished
    assert len(result.scores) == 10
    assert {score.n for score in result.scores} == {40}
    for score in result.scores:
        assert (40 * score.cnn).is_integer() and (40 * score.cnnf).is_integer()


def test_the_page_needs_nothing_but_itself(finished):
    text = finished[0].index.read_text(encoding="utf-8")
    assert MARKER in text and 'name="viewport"' in text and "prefers-color-scheme: dark" in text
    assert "<script" not in text and "http" not in text
    sources = re.findall(r'src="([^"]*)"', text)
    # 3 images x (clean, corrupted, 3 reconstructions) x 9 corruptions
    assert len(sources) == 3 * 5 * 9
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert text.count(" alt=") == len(sources)


def test_the_page_is_well_formed(finished):
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag not in {"meta", "img"}:
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Checker().feed(finished[0].index.read_text(encoding="utf-8"))
    assert open_tags == []


def test_a_second_run_replaces_the_first_and_gives_the_same(finished, models, tmp_path):
    first, _ = finished
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    out = tmp_path / "a folder" / "démo"
    for _ in range(2):
        demo.run(out, images=3, sample=40, models=models, console=Console(file=io.StringIO()))
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in out.parent.iterdir()] == ["démo"]


def test_another_seed_shows_other_images(finished, models, tmp_path):
    quiet = Console(file=io.StringIO())
    other = demo.run(tmp_path / "x", images=3, sample=40, seed=1, models=models, console=quiet)
    assert other.index.read_bytes() != finished[0].index.read_bytes()


@pytest.mark.parametrize("name", ["notes.txt", "index.html", "noise-1.png", ".hidden"])
def test_a_folder_that_is_no_demo_is_left_alone(models, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(demo.DemoError, match="not overwritten"):
        demo.run(tmp_path, images=1, sample=2, models=models)
    assert (tmp_path / name).read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_demo_with_a_file_of_the_users_is_left_alone(models, tmp_path):
    (tmp_path / "index.html").write_text(MARKER)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(demo.DemoError, match=r"notes\.txt"):
        demo.run(tmp_path, images=1, sample=2, models=models)


def test_a_place_that_cannot_be_written_is_named_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "demo"):
        with pytest.raises(demo.DemoError, match="file"):
            demo.run(out, models={"cnnf": None, "cnn": None})


def test_a_failure_leaves_nothing_behind(models, tmp_path):
    def broken(images):
        raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        demo.run(
            tmp_path / "out", images=1, sample=2, models={"cnnf": models["cnnf"], "cnn": broken}
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "numbers", [{"images": 0}, {"images": 11, "sample": 10}, {"sample": 0}, {"sample": 1001}]
)
def test_numbers_out_of_range_are_refused(models, tmp_path, numbers):
    with pytest.raises(demo.DemoError, match="must be 1 to"):
        demo.run(tmp_path / "out", models=models, **numbers)


def test_every_class_is_shown_once_before_one_comes_again():
    sample = fashion_mnist_sample()
    for seed in range(5):
        shown = choose(sample, 20, seed)
        assert len(set(shown)) == 20
        for part in (shown[:10], shown[10:]):
            assert sorted(sample.labels[part].tolist()) == list(range(10))
    assert choose(sample, 5, 0) == choose(sample, 20, 0)[:5] != choose(sample, 5, 1)


def test_the_images_on_show_are_corrupted_as_those_that_are_scored(models):
    sample = fashion_mnist_sample().head(6)
    seen: list[torch.Tensor] = []

    def spy(images):
        seen.append(images)
        return models["cnn"](images)

    (first, *_) = scenes(models["cnnf"], models["cnn"], sample, [4, 1], seed=3)
    list(scores(models["cnnf"], spy, sample, seed=3))
    assert torch.equal(first.corrupted, seen[1][[4, 1]])


def test_a_scene_holds_what_the_networks_give(models):
    sample = fashion_mnist_sample().head(6)
    all_scenes = list(scenes(models["cnnf"], models["cnn"], sample, [4, 1], seed=3))
    assert [f"{s.name}.png" for s in all_scenes] == sorted(
        SHEETS, key=lambda name: (["noise", "blur", "occlusion"].index(name[:-6]), name)
    )
    last = all_scenes[-1]
    with torch.no_grad():
        for k, rendered in enumerate(last.reconstructions, 1):
            assert torch.equal(rendered, models["cnnf"].reconstruct(last.corrupted, k))
        assert torch.equal(last.cnnf, models["cnnf"](last.corrupted).argmax(1))
        assert torch.equal(last.cnn, models["cnn"](last.corrupted).argmax(1))


def test_errors_are_mean_squares():
    errors = scene([0, 1], [0, 1]).errors
    assert errors == pytest.approx((0.04, 0.01, 0.09, 0.09))


@pytest.mark.parametrize(
    ("rendered", "words"),
    [(0.1, "Nearer to clean than the input: feedback 1."), (0.25, "No feedback is nearer")],
)
def test_the_caption_says_which_is_nearer_as_measured(rendered, words):
    page = write_page([scene([0, 1], [0, 1], rendered=rendered)], [score()], CLASSES, "x")
    assert words in page and "corrupted 0.0400" in page


def test_right_and_wrong_predictions_look_different():
    page = write_page([scene([0, 0], [5, 1])], [score()], CLASSES, "x")
    said = re.findall(r'<span class="(\w+)" data-who="([^"]*)">(.) ([^<]*)</span>', page)
    assert said == [
        ("right", "plain CNN", "✓", "T-shirt/top"),
        ("wrong", "CNN-F", "✗", "Sandal"),
        ("wrong", "plain CNN", "✗", "T-shirt/top"),
        ("right", "CNN-F", "✓", "Trouser"),
    ]


@pytest.mark.parametrize(("predictions", "colour"), [([0, 1], RIGHT), ([1, 0], WRONG)])
def test_a_sheet_shows_the_images_and_colours_the_predictions(predictions, colour):
    drawn = draw_sheet(scene(predictions, predictions), CLASSES)
    colours = {"#{:02x}{:02x}{:02x}".format(*value) for _, value in drawn.getcolors(1 << 16)}
    assert colour in colours and ({RIGHT, WRONG} - {colour}).isdisjoint(colours)
    # the grey levels of clean, corrupted and rendered images
    assert {"#000000", "#333333", "#1a1a1a", "#4c4c4c"} <= colours


def test_names_are_escaped():
    page = write_page([scene([0, 1], [0, 1])], [score()], ["<b>", "&"], "<i>")
    assert "<b>" not in page and "<i>" not in page and "&lt;b&gt;" in page


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_the_grey_levels_of_the_image(channels):
    image = torch.arange(channels * 16).reshape(channels, 4, 4) / 255
    with Image.open(io.BytesIO(to_png(image))) as picture:
        pixels = torch.tensor(list(picture.tobytes())).reshape(4, 4, channels)
    assert torch.equal(pixels.permute(2, 0, 1), torch.arange(channels * 16).reshape(channels, 4, 4))


def score(cnn: float = 0.5, cnnf: float = 0.5, error: float = 0.01) -> Score:
    return Score("clean", 100, cnn, cnnf, error)


@pytest.mark.parametrize(
    ("cnnf", "verdict"),
    [
        (0.521, "CNN-F is better"),
        (0.519, "no clear difference"),
        (0.481, "no clear difference"),
        (0.479, "plain CNN is better"),
    ],
)
def test_a_difference_is_clear_from_two_standard_errors_on(cnnf, verdict):
    assert score(cnnf=cnnf).verdict == verdict
    assert score(error=0.0).verdict == "no clear difference"


def test_the_error_of_a_difference_is_that_of_paired_images():
    sample = fashion_mnist_sample().head(100)
    right = torch.nn.functional.one_hot(sample.labels, 10).float()
    almost = right.clone()
    almost[:10] = almost[:10].roll(1, dims=1)  # wrong on ten of the hundred
    answers = {"cnnf": right, "cnn": almost}

    def network(name: str):
        # The whole sample is one batch, so that logits can simply be recited.
        return lambda images: answers[name]

    first = next(iter(scores(network("cnnf"), network("cnn"), sample, seed=0)))
    assert (first.cnn, first.cnnf) == (pytest.approx(0.9), 1.0)
    assert first.difference_error == pytest.approx(math.sqrt(0.1 * 0.9 / 100))
    assert first.difference == "+10.0 ± 3.0"


def test_the_inlined_pictures_are_the_images_on_show(finished):
    text = finished[0].index.read_text(encoding="utf-8")
    encoded = re.search(r"base64,([^\"]*)", text).group(1)
    sample = fashion_mnist_sample().head(40)
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        pixels = torch.tensor(list(picture.tobytes()), dtype=torch.uint8).reshape(28, 28)
    assert torch.equal(pixels, sample.images[choose(sample, 3, 0)[0], 0])
    assert Path(finished[0].index).is_file()
