"""Fixtures that several test files share: a machine of its own, and a Hub for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from tests.hub_server import HubServer
from tests.pinned_card import LARGE, Pinned
from tests.tiny_card import ARCHITECTURE
from zoo import models


@pytest.fixture
def tiny_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let cards name the architecture `tiny`."""
    monkeypatch.setitem(models.ARCHITECTURES, "tiny", ARCHITECTURE)


@pytest.fixture
def home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_architecture: None
) -> Iterator[Path]:
    """A machine with empty caches; returns the folder of the zoo's own, which is not there yet."""
    folder = tmp_path / "home"
    monkeypatch.setenv("ZOO_CACHE", str(folder / "zoo"))
    monkeypatch.setattr(constants, "HF_HOME", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "secret")
    yield folder / "zoo"
    huggingface_hub.close_session()


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub, and a client that knows no other."""
    with HubServer() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


@pytest.fixture
def card(hub: HubServer, tmp_path: Path) -> Pinned:
    """A small card on the Hub; its weights are not here."""
    return Pinned(hub, tmp_path)


@pytest.fixture
def large(hub: HubServer, tmp_path: Path) -> Pinned:
    """Like `card`, with weights that take several chunks to arrive."""
    return Pinned(hub, tmp_path / "large", repo="acme/large", width=LARGE)
