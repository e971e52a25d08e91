"""`torch.hub.load` from a checkout: the registry's names, from anywhere, never another `zoo`."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

import zoo

ROOT = Path(__file__).parents[1]


def python(code, cwd, **options):
    """Run code with `repo` set to the checkout, in a fresh interpreter and another folder.

    The checkout is not on the path, where an editable install would have put it.
    """
    begin = (
        f"import sys\nrepo = {str(ROOT)!r}\nsys.path = [each for each in sys.path if each != repo]"
    )
    script = f"{begin}\nimport torch\n{textwrap.dedent(code)}"
    return subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, cwd=cwd, **options
    )


@pytest.fixture
def github(monkeypatch):
    """A stand-in for GitHub: every repository is this checkout, unpacked already."""
    monkeypatch.setattr(torch.hub, "_get_cache_or_reload", lambda *_, **__: str(ROOT))


def test_entry_points_are_the_names_of_the_registry_in_both_spellings(github):
    names = zoo.list_models()
    expected = {*names, *(name.replace("-", "_") for name in names)}
    assert set(torch.hub.list("acme/zoo")) == expected


@pytest.mark.parametrize("name", zoo.list_models())
def test_help_is_that_of_the_card(name, github):
    card = zoo.info(name)
    for spelling in (name, name.replace("-", "_")):
        text = torch.hub.help("acme/zoo", spelling)
        assert card.summary in text
        assert card.paper.title in text


@pytest.mark.parametrize("name", ["cnnf-robust", "cnnf_robust"])
def test_model_is_that_of_create(name):
    model = torch.hub.load(str(ROOT), name, source="local", pretrained=True)
    same = zoo.create("cnnf-robust", pretrained=True)
    assert type(model) is type(same)
    expected = same.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


def test_model_of_a_repository_is_that_of_create(github):
    model = torch.hub.load("acme/zoo", "cnnf-robust", device="meta")
    assert type(model) is type(zoo.create("cnnf-robust", device="meta"))


def test_options_reach_the_architecture():
    model = torch.hub.load(str(ROOT), "cnnf-robust", source="local", num_classes=7, device="meta")
    assert all(parameter.is_meta for parameter in model.parameters())
    assert list(model.parameters())[-1].shape == (7,)


def test_works_from_another_folder_with_an_unrelated_zoo_there(tmp_path):
    (tmp_path / "zoo.py").write_text("raise RuntimeError('the wrong zoo')")
    done = python(
        """
        sys.path.insert(0, '.')
        model = torch.hub.load(repo, 'cnnf_robust', source='local', pretrained=True)
        assert repo not in sys.path, sys.path
        image = model.reconstruct(torch.rand(2, 1, 28, 28))
        other = torch.hub.load(repo, 'cnnf-cifar', source='local')
        import zoo
        print(type(model).__module__, zoo.__file__, tuple(image.shape), type(other).__name__)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    shape = "(2, 1, 28, 28)"
    assert done.stdout.startswith(f"zoo.models.cnnf {ROOT}/zoo/__init__.py {shape} CNNF")


def test_what_is_imported_later_is_found_without_the_path(tmp_path):
    done = python(
        """
        torch.hub.load(repo, 'cnnf-robust', source='local', device='meta')
        assert repo not in sys.path
        import zoo
        print(zoo.create('cnnf-robust', pretrained=True).iterations)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "foreign",
    [
        "import types; sys.modules['zoo'] = types.ModuleType('zoo')",
        "sys.path.insert(0, '.'); import zoo",
    ],
    ids=["no file", "a file"],
)
def test_other_zoo_that_is_imported_already_is_a_plain_error(tmp_path, foreign):
    (tmp_path / "zoo.py").write_text("value = 1")
    done = python(
        f"""
        {foreign}
        before = sys.modules['zoo']
        try:
            torch.hub.load(repo, 'cnnf-robust', source='local')
        except ImportError as error:
            print(error)
        assert sys.modules['zoo'] is before
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert f"the package 'zoo' is needed from {ROOT / 'zoo'}" in done.stdout
    assert "imported already, from" in done.stdout


def test_broken_package_does_not_stay_half_imported(tmp_path):
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "__init__.py").write_text("raise RuntimeError('broken')")
    (tmp_path / "hubconf.py").write_text((ROOT / "hubconf.py").read_text())
    done = python(
        f"""
        try:
            torch.hub.load({str(tmp_path)!r}, 'cnnf-robust', source='local')
        except RuntimeError as error:
            print(error)
        print('zoo' in sys.modules)
        print(torch.hub.load(repo, 'cnnf-robust', source='local', device='meta').training)
        """,
        tmp_path,
    )
    assert done.stdout == "broken\nFalse\nFalse\n"


def test_misspelt_model_is_an_error_of_torch_hub():
    with pytest.raises(RuntimeError, match="cnf-robust"):
        torch.hub.load(str(ROOT), "cnf-robust", source="local")


def test_pickle_in_the_place_of_the_weights_is_refused(tmp_path):
    marker = tmp_path / "marker"
    done = python(
        f"""
        import os, pickle, shutil, pathlib
        target = pathlib.Path('copy')
        for part in ('zoo', 'model_cards', 'recipes'):
            shutil.copytree(pathlib.Path(repo) / part, target / part)
        shutil.copy(pathlib.Path(repo) / 'hubconf.py', target)
        class Evil:
            def __reduce__(self):
                return os.system, ('touch {marker}',)
        file = target / 'model_cards' / 'cnnf-robust' / 'model.safetensors'
        file.write_bytes(pickle.dumps(Evil()))
        try:
            torch.hub.load(str(target), 'cnnf-robust', source='local', pretrained=True)
        except Exception as error:
            print(type(error).__name__)
            print(error)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("WeightsError\n")
    assert not marker.exists()
