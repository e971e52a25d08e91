"""Several processes that want one file, and some that die while they fetch it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hub_server import HubServer
from tests.pinned_card import LARGE, Pinned, blobs, once
from zoo import weights

ROOT = Path(__file__).parents[1]

CLIENT = """
import sys
from zoo import models, weights
models.ARCHITECTURES["tiny"] = "unused:Unused"
path = weights.fetch(sys.argv[1])
assert "torch" not in sys.modules
print(weights.hash_file(path))
"""


@contextlib.contextmanager
def clients(hub: HubServer, home: Path, name: str, n: int) -> Iterator[list[subprocess.Popen]]:
    """`n` processes that fetch `name` at the same time; those still alive are killed at the end."""
    quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home.parent), "ZOO_CACHE": str(home)}
    command = [sys.executable, "-W", "error", "-c", CLIENT, name]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with contextlib.ExitStack() as stack:
        started = []
        for _ in range(n):
            process = subprocess.Popen(command, cwd=ROOT, env=os.environ | quiet | own, **pipes)
            started.append(stack.enter_context(process))
            stack.callback(process.kill)
        yield started


def outputs(processes: list[subprocess.Popen]) -> list[str]:
    """What they print; all must end well."""
    printed = []
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        printed.append(out.strip())
    return printed


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


def is_partly_there(card: Pinned) -> bool:
    part = card.blob.with_suffix(".part")
    return part.exists() and part.stat().st_size > 0


def test_killed_downloads_are_taken_up_and_leave_nothing(hub, home, card, large, tmp_path):
    other = Pinned(hub, tmp_path / "other", repo="acme/other", width=LARGE + 1)
    hub.fault = lambda method, path: "stall"
    with clients(hub, home, other.name, 1) as live:
        wait_for(lambda: is_partly_there(other))
        for _ in range(5):
            with clients(hub, home, large.name, 1) as [doomed]:
                asked = len(hub.log)
                wait_for(lambda: len(hub.log) > asked and is_partly_there(large))  # noqa: B023
                doomed.kill()
        hub.fault = lambda method, path: None
        assert weights.fetch(large.name).read_bytes() == large.content
        # The first to be killed had half of it; nobody began anew.
        ranges = [int(r.headers.get("range", "bytes=0-")[6:-1]) for r in hub.requests]
        starts = [
            s for s, r in zip(ranges, hub.requests, strict=True) if r.path.startswith("/acme/large")
        ]
        assert starts[0] == 0 < starts[-1]
        assert starts == sorted(starts)
        # Nor was the neighbour, who was in the middle of another file, disturbed.
        hub.resume.set()
        assert outputs(live) == [other.sha256]
    assert hub.count("GET", other.url) == 1
    assert blobs(home) == {".safetensors"}


def test_eight_processes_make_one_request(hub, home, large):
    with clients(hub, home, large.name, 8) as processes:
        assert outputs(processes) == [large.sha256] * 8
    assert hub.log == [("GET", large.url)]
    large.damage(large.content[:-1])
    with clients(hub, home, large.name, 4) as processes:
        assert outputs(processes) == [large.sha256] * 4
    assert len(hub.log) == 2
    assert blobs(home) == {".safetensors"}


def test_death_of_the_one_with_the_lock_stops_nobody(hub, home, large):
    hub.fault = once("stall")
    with clients(hub, home, large.name, 1) as [holder]:
        wait_for(lambda: is_partly_there(large))
        with clients(hub, home, large.name, 3) as waiting:
            with pytest.raises(subprocess.TimeoutExpired):
                waiting[0].wait(timeout=1)
            holder.kill()
            assert outputs(waiting) == [large.sha256] * 3
    assert len(hub.log) == 2
    assert blobs(home) == {".safetensors"}
