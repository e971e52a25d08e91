"""A card folder with true files for `tests.tiny_model`, made without torch."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.sample_card import card_json, weights_json, write_card

ARCHITECTURE = "tests.tiny_model:Tiny"
FORMATS = {"F32": "f", "F16": "e", "F64": "d", "I64": "q", "U8": "B"}

Tensor = tuple[str, tuple[int, ...], list[float]]
"""dtype, shape and values."""


def tiny_tensors(seed: int = 0, *, width: int = 3) -> dict[str, Tensor]:
    """Tensors for the model, with random values that half precision holds exactly."""
    draw = random.Random(seed)

    def floats(*shape: int) -> Tensor:
        n = shape[0] * (shape[1] if len(shape) > 1 else 1)
        return "F32", shape, [draw.randrange(1, 100) / 64 for _ in range(n)]

    return {
        "linear.bias": floats(2),
        "linear.weight": floats(2, width),
        "norm.bias": floats(2),
        "norm.num_batches_tracked": ("I64", (), [seed]),
        "norm.running_mean": floats(2),
        "norm.running_var": floats(2),
        "norm.weight": floats(2),
    }


def raw_file(header: bytes, body: bytes = b"", *, claimed: int | None = None) -> bytes:
    """A safetensors file, right or wrong: the length (`claimed`, if given), a header, a body."""
    return struct.pack("<Q", len(header) if claimed is None else claimed) + header + body


def tensors_file(tensors: Mapping[str, Tensor]) -> bytes:
    """A safetensors file with these tensors."""
    header, body = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        data = struct.pack(f"<{len(values)}{FORMATS[dtype]}", *values)
        place = [len(body), len(body) + len(data)]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": place}
        body += data
    text = json.dumps(header).encode()
    return raw_file(text + b" " * (-len(text) % 8), body)


def facts(content: bytes) -> dict[str, Any]:
    """What a card says about a file."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def tiny_folder(
    root: Path,
    name: str = "tiny",
    *,
    tags: Iterable[str] = ("one",),
    hub: Mapping[str, str | None] | None = None,
    width: int = 3,
    **changes: Any,
) -> Path:
    """Write a whole card folder below `root`: config, weights and golden tensors; return it."""
    tags = list(tags)
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for seed, tag in enumerate(tags):
        infix = "" if seed == 0 else f".{tag}"
        model = tensors_file(tiny_tensors(seed, width=width))
        golden = tensors_file({"input.x": ("F32", (1, 1), [float(seed)])})
        (folder / f"model{infix}.safetensors").write_bytes(model)
        (folder / f"golden{infix}.safetensors").write_bytes(golden)
        entry = {
            "parameters": 2 * width + 6,
            "dtype": "float32",
            "golden": {"file": f"golden{infix}.safetensors", **facts(golden)},
            "hub": dict(hub or {"repo": None, "revision": None}),
            **facts(model),
            **changes,
        }
        entries[tag] = weights_json(tag, default=seed == 0, **entry)
    card = card_json(name, *tags, architecture="tiny", config={"width": width}, weights=entries)
    return write_card(root, card)


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder by name, as a repository holds them."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edit_card(folder: Path, **changes: Any) -> None:
    """Replace fields of every weights entry of a card."""
    path = folder / "config.json"
    card = json.loads(path.read_text())
    card["weights"] = {tag: entry | changes for tag, entry in card["weights"].items()}
    path.write_text(json.dumps(card))
