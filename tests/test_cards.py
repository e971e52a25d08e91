"""What is written about the models is true of their files and equal to what is generated."""

import hashlib
import json
import math
import struct

import pytest
from huggingface_hub import ModelCard

from tests.sample_card import card_json, write_card
from zoo import cards, factory, registry
from zoo.errors import CardError

REAL = registry.cards()
FILES = [
    pytest.param(card.folder, entry, id=f"{card.name}.{weights.tag}-{kind}")
    for card in REAL.values()
    for weights in card.weights.values()
    for kind, entry in (("model", weights), ("golden", weights.golden))
]
WEIGHTS = [
    pytest.param(card, weights, id=f"{card.name}.{weights.tag}")
    for card in REAL.values()
    for weights in card.weights.values()
]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of two cards and a README, as the registry."""
    monkeypatch.setattr(registry, "cards_folder", lambda: tmp_path / "model_cards")
    write_card(tmp_path / "model_cards", card_json("one", "clean", "noisy"))
    write_card(tmp_path / "model_cards", card_json("two", task="density-estimation"))
    markers = "<!-- generated:models -->\n<!-- /generated:models -->"
    (tmp_path / "README.md").write_text(f"# Project\n\n{markers}\n\nThe end.\n")
    return tmp_path


def header(path):
    """The header of a safetensors file: name -> dtype, shape, offsets."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entries = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    return entries


# The real cards.


def test_zoo_has_its_first_models():
    assert {"cnn-robust", "cnnf-cifar", "cnnf-robust"} <= set(REAL)


@pytest.mark.parametrize("card", REAL.values(), ids=lambda card: card.name)
def test_recipe_of_a_card_exists_and_has_its_name(card):
    assert card.recipe == f"recipes/{card.name.replace('-', '_')}.py"
    assert (registry.cards_folder().parent / card.recipe).is_file()


@pytest.mark.parametrize(("folder", "entry"), FILES)
def test_files_are_those_of_the_card(folder, entry):
    content = (folder / entry.file).read_bytes()
    assert len(content) == entry.bytes
    assert hashlib.sha256(content).hexdigest() == entry.sha256


@pytest.mark.parametrize(("card", "weights"), WEIGHTS)
def test_parameters_and_dtype_are_those_of_the_file(card, weights):
    entries = header(card.folder / weights.file)
    model = factory.build(card, weights.tag, device="meta")
    names = [name for name, _ in model.named_parameters()]
    assert sum(math.prod(entries[name]["shape"]) for name in names) == weights.parameters
    one, many = {
        "float32": ("F32", "F32"),
        "float16": ("F16", "F16"),
        "bfloat16": ("BF16", "BF16"),
        "int8": ("F32", "I8"),  # vectors, and what has rows
    }[weights.dtype]
    for name, parameter in model.named_parameters():
        assert entries[name]["dtype"] == (many if parameter.dim() >= 2 else one)


@pytest.mark.parametrize(("card", "weights"), WEIGHTS)
def test_weights_have_metrics(card, weights):
    assert weights.metrics


@pytest.mark.parametrize("card", REAL.values(), ids=lambda card: card.name)
def test_model_card_is_what_the_generator_writes(card):
    path = card.folder / "README.md"
    assert path.read_text(encoding="utf-8") == cards.readme(card)
    assert ModelCard.load(path).data.license == card.licence.lower()


def test_everything_generated_is_up_to_date(capsys):
    assert cards.main(["--check"]) == 0, capsys.readouterr().err


def test_deprecated_names_resolve_with_a_warning():
    for name in registry.DEPRECATED:
        with pytest.warns(FutureWarning, match=name):
            registry.find(name)


# The generator.


def test_model_card_says_what_the_card_says(project):
    folder = project / "model_cards" / "one"
    assert cards.write_readme(folder)
    text = (folder / "README.md").read_text()
    for fact in (
        "# one",
        "A Title",
        "https://arxiv.org/abs/2007.09200",
        "recipes/one.py",
        "`model.noisy.safetensors`: 300 parameters, 1.2 kB, float16",
        'zoo.create("one.noisy", pretrained=True)',
        "| `noisy` | fashion-mnist (test) | accuracy | 87.50% | 10,000 |",
        "1 min 0 s",
        "torch 2.15.0",
        "a" * 64,
    ):
        assert fact in text


def test_model_card_without_weights_names_the_recipe(project):
    text = cards.readme(registry.info("two"))
    assert "There are no weights yet; `python recipes/two.py` trains them." in text
    assert "pretrained=True" not in text


def test_front_matter_is_read_by_the_hub_client(project):
    folder = project / "model_cards" / "one"
    cards.write_readme(folder)
    data = ModelCard.load(folder / "README.md").data
    assert (data.license, data.library_name) == ("mit", "structured-zoo")
    assert data.pipeline_tag == "image-classification"
    assert "arxiv:2007.09200" in data.tags
    assert data.datasets == ["fashion-mnist"]
    results = [(result.metric_name, result.metric_value) for result in data.eval_results]
    assert results == [("accuracy (clean)", 0.875), ("accuracy (noisy)", 0.875)]


@pytest.mark.parametrize("value", [1e-5, 1e16, 2.5e-7, -3e20, 0.1, 3.0])
def test_numbers_stay_numbers_in_the_front_matter(project, value):
    data = card_json("one", "clean")
    data["weights"]["clean"]["metrics"][0]["value"] = value
    folder = write_card(project / "model_cards", data)
    cards.write_readme(folder)
    assert ModelCard.load(folder / "README.md").data.eval_results[0].metric_value == value


def test_text_with_a_meaning_in_yaml_or_markdown_stays_text(project):
    data = card_json("one", "clean", summary="- a: 'b' # c")
    data["weights"]["clean"]["metrics"][0] |= {"dataset": "no", "metric": "a|b: {c}"}
    folder = write_card(project / "model_cards", data)
    cards.write_readme(folder)
    result = ModelCard.load(folder / "README.md").data.eval_results[0]
    assert (result.dataset_name, result.metric_type) == ("no", "a|b: {c}")
    assert "| a\\|b: {c} |" in (folder / "README.md").read_text()


def test_prose_around_the_blocks_stays(project):
    path = project / "model_cards" / "one" / "README.md"
    cards.write_readme(path.parent)
    prose = "What it is for,\n---\nand what not."
    edited = path.read_text().replace(
        "<!-- generated:use -->", f"{prose}\n\n<!-- generated:use -->"
    )
    path.write_text(edited.replace("87.50%", "99.99%").replace("license:", "licence:"))
    assert cards.write_readme(path.parent)
    assert path.read_text() == edited
    assert not cards.write_readme(path.parent)


def test_publishing_does_not_change_the_model_card(project):
    before = cards.readme(registry.info("one"))
    data = card_json("one", "clean", "noisy")
    for weights in data["weights"].values():
        weights["hub"] = {"repo": "acme/one", "revision": "d" * 40}
    write_card(project / "model_cards", data)
    assert cards.readme(registry.info("one")) == before


@pytest.mark.parametrize("marker", ["<!-- generated:facts -->", "<!-- /generated:facts -->"])
def test_lost_marker_is_an_error_that_names_the_file(project, marker):
    path = project / "model_cards" / "one" / "README.md"
    cards.write_readme(path.parent)
    path.write_text(path.read_text().replace(marker, ""))
    with pytest.raises(CardError, match=r"README\.md: expected the markers <!-- generated:facts"):
        cards.write_readme(path.parent)


def test_one_command_writes_everything_and_then_nothing(project, capsys):
    assert cards.main([]) == 0
    assert capsys.readouterr().out.count("wrote") == 3
    assert "[`one`](model_cards/one)" in (project / "README.md").read_text()
    assert (project / "README.md").read_text().endswith("The end.\n")
    assert cards.main([]) == 0
    assert capsys.readouterr().out == ""


def test_check_names_what_differs_and_writes_nothing(project, capsys):
    cards.main([])
    path = project / "model_cards" / "two" / "README.md"
    path.write_text(path.read_text().replace("density", "destiny"))
    stale = path.read_text()
    assert cards.main(["--check"]) == 1
    assert str(path) in capsys.readouterr().err
    assert path.read_text() == stale


def test_broken_card_stops_the_command_with_a_message(project, capsys):
    (project / "model_cards" / "one" / "config.json").write_text("{}")
    assert cards.main(["--check"]) == 2
    assert "config.json: name: missing field" in capsys.readouterr().err


def test_table_of_models_has_a_line_for_each(project):
    lines = cards.models_table(registry.cards().values()).splitlines()
    assert lines[0] == "| Model | Task | Paper | Size | Headline metric |"
    assert "300 parameters, 1.2 kB | accuracy 87.50% (fashion-mnist) |" in lines[2]
    assert lines[3].endswith("| - | - |")
