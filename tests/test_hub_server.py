"""The Hub on loopback, seen by the client that it stands in for."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

# The client's own upload of large files, with the HTTP library that it came with.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 400}


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.url, token="secret")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


def test_folder_goes_up_and_comes_down(hub, api, folder):
    api.create_repo("acme/x")
    commit = api.upload_folder(repo_id="acme/x", folder_path=folder)
    assert api.model_info("acme/x").sha == commit.oid == hub.revisions("acme/x")[-1]
    path = Path(snapshot_download("acme/x", revision=commit.oid))
    assert {file.name: file.read_bytes() for file in path.iterdir()} == hub.files("acme/x")
    assert hub.files("acme/x").items() >= FILES.items()
    assert [file.path for file in api.list_repo_tree("acme/x")] == sorted(hub.files("acme/x"))


def test_same_folder_is_no_second_commit(hub, api, folder):
    api.create_repo("acme/x")
    first = api.upload_folder(repo_id="acme/x", folder_path=folder)
    assert api.upload_folder(repo_id="acme/x", folder_path=folder).oid == first.oid
    assert hub.count("PUT") == 1


def test_file_can_be_deleted(hub, api):
    old = hub.commit("acme/x", FILES)
    api.delete_file("config.json", "acme/x")
    assert "config.json" not in hub.files("acme/x")
    assert hub.files("acme/x", old) == FILES


def test_stale_parent_is_a_conflict(hub, api):
    old = hub.commit("acme/x", FILES)
    hub.commit("acme/x", {"more": b""})
    with pytest.raises(HfHubHTTPError, match="412"):
        api.delete_file("config.json", "acme/x", parent_commit=old)


def test_what_is_missing_is_the_error_that_the_client_knows(hub, api):
    revision = hub.commit("acme/x", FILES)
    with pytest.raises(RemoteEntryNotFoundError):
        api.hf_hub_download("acme/x", "other", revision=revision)
    with pytest.raises(RevisionNotFoundError):
        api.hf_hub_download("acme/x", "config.json", revision="0" * 40)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("acme/none")
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("acme/x")
