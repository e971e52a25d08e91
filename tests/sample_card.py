"""A card to try things on, without weights or with made-up ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def weights_json(tag: str, *, default: bool = True, **changes: Any) -> dict[str, Any]:
    """The entry of weights `tag`, complete and valid; `changes` replace fields of it."""
    infix = "" if default else f".{tag}"
    entry = {
        "file": f"model{infix}.safetensors",
        "sha256": "a" * 64,
        "bytes": 1234,
        "parameters": 300,
        "dtype": "float16",
        "golden": {"file": f"golden{infix}.safetensors", "sha256": "b" * 64, "bytes": 99},
        "hub": {"repo": None, "revision": None},
        "trained": {
            "command": "python recipes/tiny.py",
            "seed": 0,
            "commit": "c" * 40,
            "hardware": "2 CPU cores",
            "seconds": 60.0,
            "versions": {"torch": "2.15.0"},
        },
        "metrics": [
            {
                "dataset": "fashion-mnist",
                "split": "test",
                "metric": "accuracy",
                "value": 0.875,
                "n": 10000,
                "command": "zoo verify tiny --metrics",
            }
        ],
    }
    return entry | changes


def card_json(name: str = "tiny", *tags: str, **changes: Any) -> dict[str, Any]:
    """A complete and valid card; the first of `tags` is the default, `changes` replace fields."""
    card = {
        "name": name,
        "architecture": "cnnf",
        "config": {"iterations": 1},
        "task": "image-classification",
        "summary": "A card to try things on.",
        "paper": {
            "title": "A Title",
            "authors": "A. Author and B. Author",
            "venue": "Some Conference 2020",
            "arxiv": "2007.09200",
        },
        "licence": "MIT",
        "data": {"name": "Fashion-MNIST", "licence": "MIT", "source": "https://example.org/data"},
        "recipe": f"recipes/{name.replace('-', '_')}.py",
        "default": tags[0] if tags else None,
        "weights": {tag: weights_json(tag, default=tag == tags[0]) for tag in tags},
    }
    return card | changes


def write_card(root: Path, card: dict[str, Any]) -> Path:
    """Write `config.json` into the folder of the card's name below `root`; return the folder."""
    folder = root / str(card["name"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(card), encoding="utf-8")
    return folder
