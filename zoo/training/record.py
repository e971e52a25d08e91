"""What a run records about itself: code, versions, machine."""

from __future__ import annotations

import inspect
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import zoo
from zoo.training import distributed

__all__ = ["commit", "environment", "hardware", "relative", "script", "versions"]

ROOT = Path(zoo.__file__).resolve().parent.parent


def script(function: Callable[..., object]) -> Path:
    """The file that a function was written in."""
    return Path(inspect.getfile(function)).resolve()


def relative(path: Path) -> str:
    """How a command in this project names a file: from the project's folder where it is inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def commit(folder: Path) -> str:
    """The git commit of the code in `folder`: 40 hex digits, and `-dirty` if code differs from it.

    `unknown` where there is no git repository, as in an installed package.
    """
    head = _git(folder, "rev-parse", "HEAD")
    if not head:
        return "unknown"
    # Only code counts, new files included: a card that a run has just exported changes nothing.
    changed = _git(folder, "status", "--porcelain", "--", ":/*.py")
    return head if changed == "" else f"{head}-dirty"


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command, None if it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on."""
    packages = {name: metadata.version(name) for name in ("numpy", "torch", "torchvision")}
    return {"python": platform.python_version(), "zoo": zoo.__version__, **packages}


def hardware(device: torch.device) -> str:
    """What computes, e.g. `NVIDIA H100 80GB HBM3` or `AMD EPYC 9555 (2 threads)`."""
    count = distributed.world_size()
    times = f"{count} x " if count > 1 else ""
    if device.type == "cuda":
        return times + torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{times}{_cpu_name()} ({threads} thread{'s' if threads > 1 else ''})"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def environment(device: torch.device, source: Path) -> dict[str, Any]:
    """The code, the versions and the machine of this process, as JSON values."""
    return {
        "argv": sys.argv,
        "commit": commit(source.parent),
        "versions": versions(),
        "hardware": hardware(device),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "world_size": distributed.world_size(),
    }
