"""Cards are parsed strictly, and names lead to them."""

import copy
import pickle
from pathlib import Path

import pytest

import zoo
from tests.sample_card import card_json, weights_json, write_card
from zoo import registry
from zoo.errors import CardError, DataError, UnknownNameError, WeightsError, ZooError

PATH = Path("somewhere/tiny/config.json")
MISSING = object()


def changed(card, place, value):
    """A copy of `card` with `value` at a dotted place, or without that field."""
    card = copy.deepcopy(card)
    *parents, last = place.split(".")
    target = card
    for key in parents:
        target = target[int(key) if key.isdigit() else key]
    if value is MISSING:
        del target[last]
    else:
        target[last] = value
    return card


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """Four models, of which two have weights, as the registry."""
    monkeypatch.setattr(registry, "cards_folder", lambda: tmp_path)
    write_card(tmp_path, card_json("cnn-robust", "adversarial"))
    write_card(tmp_path, card_json("cnnf-robust", "adversarial", "clean"))
    write_card(tmp_path, card_json("cnnf-10"))
    write_card(tmp_path, card_json("cnnf-9", task="density-estimation"))
    return tmp_path


def test_card_survives_the_way_to_json_and_back():
    data = card_json("tiny", "one", "two")
    data["weights"]["two"]["config"] = {"sizes": [1, [2, 3]], "options": {"a": None}}
    card = registry.parse_card(data, PATH)
    assert registry.card_to_json(card) == data
    assert registry.parse_card(registry.card_to_json(card), PATH) == card


def test_card_holds_what_the_file_says():
    card = registry.parse_card(card_json("tiny", "one", "two"), PATH)
    assert card.folder == PATH.parent
    assert card.paper.arxiv == "2007.09200"
    assert card.weights["two"].tag == "two"
    assert card.weights["two"].golden.file == "golden.two.safetensors"
    assert card.weights["one"].metrics[0].value == 0.875


def test_card_cannot_be_changed():
    card = registry.parse_card(card_json("tiny", "one"), PATH)
    with pytest.raises(AttributeError):
        card.name = "other"
    with pytest.raises(TypeError):
        card.weights["two"] = card.weights["one"]
    with pytest.raises(TypeError):
        card.config["iterations"] = 2


def places(value, prefix=""):
    """The dotted places of all fields of a decoded card, except those inside free mappings."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        place = f"{prefix}{key}"
        if not place.endswith(("metrics.0", "weights.one")):
            yield place
        if isinstance(item, dict | list) and not place.endswith(("config", "versions")):
            yield from places(item, f"{place}.")


PLACES = list(places(card_json("tiny", "one")))


@pytest.mark.parametrize("place", PLACES)
def test_missing_field_is_named(place):
    data = changed(card_json("tiny", "one"), place, MISSING)
    with pytest.raises(CardError, match=rf"config\.json: {place}: missing field"):
        registry.parse_card(data, PATH)


@pytest.mark.parametrize("place", [place for place in PLACES if place != "default"])
@pytest.mark.parametrize("value", [b"bytes", True, ""])
def test_field_of_a_wrong_kind_is_named(place, value):
    data = changed(card_json("tiny", "one"), place, value)
    with pytest.raises(CardError, match=rf"config\.json: {place}: expected .*, found"):
        registry.parse_card(data, PATH)


def test_only_the_settings_of_weights_are_optional():
    assert "config" not in weights_json("one")
    assert registry.parse_card(card_json("tiny", "one"), PATH).weights["one"].config == {}


@pytest.mark.parametrize("where", ["", "paper.", "weights.one.", "weights.one.metrics.0."])
def test_unknown_field_is_named(where):
    data = changed(card_json("tiny", "one"), f"{where}titel", "x")
    with pytest.raises(CardError, match=rf"{where}titel: unknown field \(did you mean"):
        registry.parse_card(data, PATH)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("name", "Tiny"),
        ("name", "tiny_model"),
        ("name", "tiny.one"),
        ("name", "tiny\n"),
        ("name", "../tiny"),
        ("architecture", "resnet"),
        ("task", "classification"),
        ("summary", "two\nlines"),
        ("summary", "a \x1b[31m colour"),
        ("summary", "half a pair \ud800"),
        ("paper.arxiv", "https://arxiv.org/abs/2007.09200"),
        ("licence", "Apache 2"),
        ("recipe", "tiny.py"),
        ("recipe", "recipes/../../x.py"),
        ("default", "two"),
        ("default", None),
        ("config", {"not a name": 1}),
        ("config", {"deep": [[[[[[[[]]]]]]]]}),
        ("config", {"value": float("inf")}),
        ("weights", {"One": {}}),
        ("weights", {"../one": {}}),
        ("weights", {"a\nb": {}}),
        ("weights.one.file", "model.one.safetensors"),
        ("weights.one.file", "model.bin"),
        ("weights.one.file", "../model.safetensors"),
        ("weights.one.file", "/model.safetensors"),
        ("weights.one.file", "model.safetensors\0"),
        ("weights.one.golden.file", "sub/golden.safetensors"),
        ("weights.one.sha256", "A" * 64),
        ("weights.one.sha256", "a" * 63),
        ("weights.one.bytes", 0),
        ("weights.one.bytes", -1),
        ("weights.one.bytes", 2**63),
        ("weights.one.bytes", 10.0),
        ("weights.one.parameters", 0),
        ("weights.one.dtype", "float64"),
        ("weights.one.hub", {"repo": "acme/x", "revision": None}),
        ("weights.one.hub", {"repo": None, "revision": "a" * 40}),
        ("weights.one.hub", {"repo": "x", "revision": "a" * 40}),
        ("weights.one.hub", {"repo": "../x", "revision": "a" * 40}),
        ("weights.one.hub", {"repo": "acme/..", "revision": "a" * 40}),
        ("weights.one.hub", {"repo": "acme/x", "revision": "main"}),
        ("weights.one.hub", {"repo": "acme/x", "revision": "a" * 7}),
        ("weights.one.trained.seed", -1),
        ("weights.one.trained.seconds", -1),
        ("weights.one.trained.versions", {"torch": 2}),
        ("weights.one.metrics.0.value", float("nan")),
        ("weights.one.metrics.0.value", 10**400),
        ("weights.one.metrics.0.n", 0),
    ],
)
def test_wrong_value_is_refused_with_file_and_field(place, value):
    data = changed(card_json("tiny", "one"), place, value)
    with pytest.raises(CardError) as caught:
        registry.parse_card(data, PATH)
    text = str(caught.value)
    assert text.startswith(f"{PATH}: {place}")
    assert text.isprintable()


def test_weights_without_a_default_are_refused():
    data = card_json("tiny", default="one")
    with pytest.raises(CardError, match="default: expected null while there are no weights"):
        registry.parse_card(data, PATH)


@pytest.mark.parametrize("data", [None, [], "card", 3])
def test_card_that_is_not_an_object_is_refused(data):
    with pytest.raises(CardError, match=r"config\.json: expected an object, found"):
        registry.parse_card(data, PATH)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff", b'{"a": NaN}', b'{"a": 1, "a": 1}', b"[" * 100_000, b"1" * 10_000],
    ids=["empty", "cut", "not UTF-8", "NaN", "repeated key", "deep", "long number"],
)
def test_text_that_is_not_strict_json_is_refused(tmp_path, raw):
    (tmp_path / "config.json").write_bytes(raw)
    with pytest.raises(CardError, match=r"config\.json: "):
        registry.read_card(tmp_path)


def test_card_that_is_not_there_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(CardError, match=r"config\.json: cannot be read: No such file"):
        registry.read_card(tmp_path)


def test_cards_are_listed_in_natural_order(cards):
    assert zoo.list_models() == ["cnn-robust", "cnnf-9", "cnnf-10", "cnnf-robust"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"pattern": "cnnf*"}, ["cnnf-9", "cnnf-10", "cnnf-robust"]),
        ({"pattern": "cnnf-[0-9]"}, ["cnnf-9"]),
        ({"pattern": "CNNF*"}, []),
        ({"pretrained": True}, ["cnn-robust", "cnnf-robust"]),
        ({"task": "density-estimation"}, ["cnnf-9"]),
        ({"task": "forecasting"}, []),
        ({"tag": "clean"}, ["cnnf-robust"]),
        ({"tag": "adversarial", "pattern": "cnn-*"}, ["cnn-robust"]),
    ],
)
def test_filters_narrow_the_list(cards, filters, expected):
    assert zoo.list_models(**filters) == expected


def test_unknown_task_names_the_nearest(cards):
    with pytest.raises(UnknownNameError, match="did you mean 'image-classification'"):
        zoo.list_models(task="classification")


def test_unknown_tag_filter_names_the_nearest(cards):
    with pytest.raises(UnknownNameError, match="did you mean 'adversarial'"):
        zoo.list_models(tag="adverserial")


def test_bare_name_stands_for_the_default_weights(cards):
    card, tag = registry.find("cnnf-robust")
    assert (card.name, tag) == ("cnnf-robust", "adversarial")
    assert registry.find("cnnf-robust.clean")[1] == "clean"
    assert registry.find("cnnf-9")[1] is None
    assert zoo.info("cnnf-robust.clean") is card


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cnf-robust", r"Unknown model 'cnf-robust' \(did you mean 'cnnf-robust' or 'cnn-robust'"),
        ("cnnf_robust", r"did you mean 'cnnf-robust'"),
        ("cnf-robust.clean", r"Unknown model 'cnf-robust'"),
        ("", r"Unknown model ''"),
        ("qqqq", r"Unknown model 'qqqq' \(did you mean '[a-z0-9-]+'\?\)$"),
        ("cnnf-robust.claen", r"no weights tagged 'claen' \(did you mean 'clean'"),
        ("cnnf-robust.", r"no weights tagged ''"),
        ("cnnf-9.clean", r"no weights yet: its recipe is recipes/cnnf_9.py"),
        ("acme/cnnf-robust", r"'hf-hub:org/name@<40-hex revision>'.*'local-dir:/path'"),
    ],
)
def test_unknown_name_says_what_comes_near(cards, name, message):
    with pytest.raises(UnknownNameError, match=message):
        registry.find(name)


def test_suggestions_are_one_to_three():
    names = [f"model-{index}" for index in range(20)]
    assert registry.nearest("model", names) == ["model-9", "model-8", "model-7"]
    assert len(registry.nearest("zzz", names)) == 1
    assert registry.nearest("model", []) == []


def test_deprecated_name_leads_to_the_new_one_with_a_warning(cards, monkeypatch):
    monkeypatch.setitem(registry.DEPRECATED, "cnnf-old", "cnnf-robust.clean")
    with pytest.warns(FutureWarning, match="'cnnf-old' is now called 'cnnf-robust.clean'"):
        card, tag = registry.find("cnnf-old")
    assert (card.name, tag) == ("cnnf-robust", "clean")
    assert "cnnf-old" not in zoo.list_models()


def test_card_in_the_folder_of_another_name_is_refused(cards):
    (cards / "cnnf-9").rename(cards / "cnnf-8")
    with pytest.raises(CardError, match="name: expected 'cnnf-8', the folder's, found 'cnnf-9'"):
        zoo.list_models()


def test_card_that_was_just_written_counts_at_once(cards):
    assert "cnnf-11" not in zoo.list_models()
    write_card(cards, card_json("cnnf-11"))
    assert "cnnf-11" in zoo.list_models()
    write_card(cards, card_json("cnnf-11", summary="Another sentence."))
    assert zoo.info("cnnf-11").summary == "Another sentence."


def test_cards_are_read_once(cards):
    assert registry.cards() is registry.cards()


def test_cards_lie_beside_the_package_or_inside_an_installed_one(tmp_path, monkeypatch):
    (tmp_path / "zoo").mkdir()
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "zoo" / "registry.py"))
    assert registry.cards_folder() == tmp_path / "model_cards"
    (tmp_path / "zoo" / "model_cards").mkdir()
    assert registry.cards_folder() == tmp_path / "zoo" / "model_cards"


def test_folder_of_cards_may_be_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "cards_folder", lambda: tmp_path)
    assert zoo.list_models() == []
    with pytest.raises(UnknownNameError, match=r"Unknown model 'x'$"):
        zoo.info("x")


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (UnknownNameError, ValueError),
        (CardError, ValueError),
        (DataError, RuntimeError),
        (WeightsError, RuntimeError),
    ],
)
def test_errors_are_of_the_zoo_and_of_the_builtin_kind(error, builtin):
    assert issubclass(error, ZooError)
    assert issubclass(error, builtin)


def test_weights_error_shows_each_detail_on_a_line_of_its_own():
    error = WeightsError("Bad sum", file=PATH, expected="aa", found=0, next_step="fetch it again")
    assert str(error).splitlines() == [
        "Bad sum",
        f"  file:      {PATH}",
        "  expected:  aa",
        "  found:     0",
        "  next step: fetch it again",
    ]
    assert (error.file, error.expected, error.found) == (str(PATH), "aa", "0")
    assert str(WeightsError("Bad sum")) == "Bad sum"


def test_weights_error_travels_between_processes():
    error = WeightsError("Bad sum", file="x", next_step="fetch it again")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
