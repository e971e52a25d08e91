"""A card that is on a Hub, and what to look at when it is fetched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.hub_server import Fault, HubServer
from tests.tiny_card import contents, edit_card, tiny_folder
from zoo import _cache, weights

FILE = "model.safetensors"
LARGE = 50_000
"""A width that makes 400 kB of weights: several chunks of a download."""


class Pinned:
    """A card on the Hub at commit `revision`, and its twin here: pinned, but without the files."""

    def __init__(self, hub: HubServer, root: Path, *, repo: str = "acme/tiny", width: int = 3):
        published = tiny_folder(root / "published", width=width)
        self.files = contents(published)
        self.content = self.files[FILE]
        self.repo, self.revision = repo, hub.commit(repo, self.files)
        self.folder = tiny_folder(root / "here", repo.partition("/")[2], width=width)
        for path in self.folder.glob("*.safetensors"):
            path.unlink()
        edit_card(self.folder, hub={"repo": self.repo, "revision": self.revision})
        self.name = f"local-dir:{self.folder}"
        self.hub_name = f"hf-hub:{self.repo}@{self.revision}"
        self.sha256 = weights.resolve(self.name)[0].weights["one"].sha256

    @property
    def url(self) -> str:
        return f"/{self.repo}/resolve/{self.revision}/{FILE}"

    @property
    def blob(self) -> Path:
        return _cache.blob(self.sha256)

    def damage(self, content: bytes) -> None:
        """Put something else where the cache should have the file."""
        self.blob.parent.mkdir(parents=True, exist_ok=True)
        self.blob.write_bytes(content)


def blobs(home: Path) -> set[str]:
    """The kinds of files in the cache, without the locks."""
    found = (home / "blobs").glob("*")
    return {path.suffix for path in found if path.suffix != ".lock"}


def once(fault: Fault) -> Callable[[str, str], Fault]:
    """A fault for the first request, and good behaviour ever after."""
    faults = iter([fault])
    return lambda method, path: next(faults, None)
