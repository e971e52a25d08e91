"""From a trained model to a card folder: the files that the zoo loads, verifies and publishes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from zoo.cards import write_readme
from zoo.factory import build
from zoo.golden import make as make_golden
from zoo.registry import (
    Card,
    Golden,
    HubPin,
    Metric,
    Trained,
    Weights,
    card_to_json,
    cards_folder,
    read_card,
)
from zoo.training import distributed
from zoo.training.files import FileError, write_atomically, write_json
from zoo.training.run import Run
from zoo.training.tensors import ExportError, fingerprint, rounded, serialise, stored

__all__ = ["export", "save_weights"]


def save_weights(run: Run, model: nn.Module, *, dtype: str = "float32") -> Path:
    """Write `model.safetensors` into the run folder, for recipes whose model has no card.

    The bytes are a function of the weights alone. Their sha256 goes into run.json.

    Raises:
        ExportError: if a weight is not finite.
    """
    path = run.folder / "model.safetensors"
    if distributed.is_main():
        content = serialise(stored(model, dtype))
        write_atomically(path, content)
        run.record(result={"file": path.name, **fingerprint(content)})
    return path


def export(
    run: Run,
    model: nn.Module,
    *,
    card: str | Path,
    tag: str,
    metrics: Sequence[Metric],
    dtype: str = "float32",
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write the card folder `<run>/card/`: config.json, README.md, weights and golden tensors.

    It begins with the card as it is, keeps its prose and its other weights, and replaces those of
    `tag`. It appears as a whole or not at all. To adopt it, copy it over the card's folder.

    Args:
        run: The run that trained the model.
        model: The trained model, on any device.
        card: Name of a card of the zoo, or a folder with a card.
        tag: Name of these weights; the card's default if it has no others.
        metrics: What was measured on `rounded(model, dtype)`; the first is the headline.
        dtype: How floating tensors are stored, one of the schema's `DTYPES`.
        config: What these weights change in the architecture's arguments; if None, what the
            card's present weights of this tag change.

    Returns:
        The folder.

    Raises:
        ExportError: if a weight is not finite or does not fit the card's architecture.
    """
    folder = run.folder / "card"
    if not distributed.is_main():
        return folder
    template = read_card(cards_folder() / card if isinstance(card, str) else card)
    if config is None:
        config = template.weights[tag].config if tag in template.weights else {}
    _check_fits(model, template, config)
    default = template.default or tag
    infix = "" if tag == default else f".{tag}"
    golden = make_golden(rounded(model, dtype), template.task)
    tensors = stored(model, dtype)
    contents = {
        f"model{infix}.safetensors": serialise(tensors),
        f"golden{infix}.safetensors": serialise(golden),
    }
    (file, content), (golden_file, golden_content) = contents.items()
    weights = Weights(
        tag=tag,
        file=file,
        **fingerprint(content),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=dtype,
        golden=Golden(golden_file, **fingerprint(golden_content)),
        # Whatever was uploaded before was another file.
        hub=HubPin(None, None),
        config=config,
        trained=_trained(run),
        metrics=tuple(metrics),
    )
    all_weights = {**template.weights, tag: weights}
    fresh = replace(template, default=default, weights=all_weights)
    _write_folder(folder, fresh, contents)
    run.record(result={"file": f"card/{file}", **fingerprint(content)})
    return folder


def _write_folder(folder: Path, card: Card, contents: Mapping[str, bytes]) -> None:
    """Write the folder under another name, read it back, and put it in its place."""
    temporary, old = folder.with_name("card.tmp"), folder.with_name("card.old")
    try:
        for leftover in (temporary, old):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name in ["README.md", *_files_of_others(card, contents)]:
            if (card.folder / name).exists():
                shutil.copyfile(card.folder / name, temporary / name)
        for name, content in contents.items():
            write_atomically(temporary / name, content)
        write_json(temporary / "config.json", card_to_json(card))
        # A card that would be refused later is refused now.
        read_card(temporary)
        write_readme(temporary)
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise FileError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _files_of_others(card: Card, contents: Mapping[str, bytes]) -> list[str]:
    """The files of the card's other weights. Some may lie on the Hub only."""
    names = [name for each in card.weights.values() for name in (each.file, each.golden.file)]
    return [name for name in names if name not in contents]


def _trained(run: Run) -> Trained:
    facts = run.facts
    return Trained(
        command=facts["command"],
        seed=run.config.seed,
        commit=facts["commit"],
        hardware=facts["hardware"],
        seconds=round(run.seconds, 1),
        versions=facts["versions"],
    )


def _check_fits(model: nn.Module, card: Card, config: Mapping[str, Any]) -> None:
    """Refuse weights that the card's architecture could not load."""
    twin = build(card, None, config, device="meta")
    expected = {name: (each.shape, each.dtype) for name, each in twin.state_dict().items()}
    found = {name: (each.shape, each.dtype) for name, each in model.state_dict().items()}
    wrong = sorted(name for name, _ in expected.items() ^ found.items())
    if wrong:
        raise ExportError(
            f"the model is not the one of {card.folder / 'config.json'}: "
            f"name, shape or dtype differ for {', '.join(dict.fromkeys(wrong))}"
        )
