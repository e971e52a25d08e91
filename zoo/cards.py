"""What is written about the models, generated from their cards.

    python -m zoo.cards            write the README of every card and the README's tables of models
    python -m zoo.cards --check    only say which of them differ

A README is front matter for the Hub, generated blocks, and prose by hand around the blocks:

    <!-- generated:facts -->
    ...
    <!-- /generated:facts -->

Nothing in it depends on where the model was published, so publishing does not change it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo import registry
from zoo._classifier_table import MARKDOWN
from zoo._format import arguments, duration, metric_value, parameters, size, summary_row
from zoo.errors import CardError, ZooError
from zoo.registry import Card, Weights

__all__ = ["main", "models_table", "readme", "write_readme"]

FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n+", re.DOTALL)

PIPELINE_TAGS = {
    "controllable-generation": "unconditional-image-generation",
    "forecasting": "time-series-forecasting",
    "image-classification": "image-classification",
    "image-generation": "unconditional-image-generation",
}
"""Task -> what the Hub calls it, where it has a word for it."""


def readme(card: Card) -> str:
    """The Hub model card: front matter and blocks from `card`, prose from the README on disk.

    Without a README on disk it is a skeleton: the blocks in their order and no prose.

    Raises:
        CardError: if the README lacks the markers of a block.
    """
    blocks = {
        "facts": _facts(card),
        "use": _use(card),
        "metrics": _metrics(card),
        "training": _training(card),
    }
    path = card.folder / "README.md"
    if path.exists():
        body = FRONT_MATTER.sub("", path.read_text(encoding="utf-8"))
    else:
        body = "\n\n".join(_block(name, "") for name in blocks) + "\n"
    for name, text in blocks.items():
        body = _fill(body, name, text, path)
    return f"---\n{_yaml(_front_matter(card))}---\n\n{body}"


def write_readme(folder: Path) -> bool:
    """Bring README.md of a card's folder up to date; return whether it was not.

    Raises:
        CardError: if the card cannot be read, or the README lacks the markers of a block.
    """
    return _write(folder / "README.md", readme(registry.read_card(folder)))


def models_table(cards: Iterable[Card]) -> str:
    """The table of models for the project's README, in Markdown."""
    rows = []
    for card in cards:
        row = summary_row(card)
        name = f"[`{card.name}`](model_cards/{card.name})"
        sizes = f"{row['parameters']} parameters, {row['size']}" if card.weights else row["size"]
        rows.append([name, row["task"], _paper(card), sizes, row["headline"]])
    return _table(["Model", "Task", "Paper", "Size", "Headline metric"], rows)


def _facts(card: Card) -> str:
    rows = [
        ["Task", card.task],
        ["Architecture", f"`{card.architecture}({arguments(card.config)})`"],
        ["Paper", f"{card.paper.authors}: {_paper(card)}, {card.paper.venue}"],
        ["Licence of the weights", card.licence],
        ["Training data", f"{card.data.name} ({card.data.licence}), {card.data.source}"],
        ["Recipe", f"`{card.recipe}`"],
    ]
    for weights in card.weights.values():
        facts = f"{parameters(weights.parameters)} parameters, {size(weights.bytes)}"
        rows.append([f"Weights `{weights.tag}`", f"`{weights.file}`: {facts}, {weights.dtype}"])
    return f"# {card.name}\n\n{card.summary}\n\n{_table(['', ''], rows)}"


def _use(card: Card) -> str:
    if card.default is None:
        return (
            "## How to use it\n\n"
            f"There are no weights yet; `python {card.recipe}` trains them.\n\n"
            f'```python\nimport zoo\n\nmodel = zoo.create("{card.name}")\n```'
        )
    lines = [f'model = zoo.create("{card.name}", pretrained=True)']
    for tag in card.weights:
        if tag != card.default:
            lines.append(f'model = zoo.create("{card.name}.{tag}", pretrained=True)')
    code = "\n".join(lines)
    return (
        f"## How to use it\n\n```python\nimport zoo\n\n{code}\n```\n\n"
        "From a repository on the Hub, pinned to a commit:\n\n"
        '```python\nmodel = zoo.create("hf-hub:<org>/<name>@<revision>", pretrained=True)\n```\n\n'
        f"`zoo verify {card.name} --metrics` checks the files and measures the numbers below again."
    )


def _metrics(card: Card) -> str:
    rows = [
        [
            f"`{weights.tag}`",
            f"{metric.dataset} ({metric.split})",
            metric.metric,
            metric_value(metric.metric, metric.value),
            f"{metric.n:,}",
            f"`{metric.command}`",
        ]
        for weights in card.weights.values()
        for metric in weights.metrics
    ]
    if not rows:
        return "## Results\n\nNothing has been measured yet."
    return "## Results\n\n" + _table(["Weights", "Data", "Metric", "Value", "n", "Command"], rows)


def _training(card: Card) -> str:
    title = "## How the weights were made"
    if not card.weights:
        return f"{title}\n\nNot yet: `python {card.recipe}` makes them."
    return "\n\n".join([title, *map(_provenance, card.weights.values())])


def _provenance(weights: Weights) -> str:
    trained = weights.trained
    versions = ", ".join(f"{name} {version}" for name, version in sorted(trained.versions.items()))
    rows = [
        ["Command", f"`{trained.command}`"],
        ["Seed", str(trained.seed)],
        ["Commit", f"`{trained.commit}`"],
        ["Hardware", trained.hardware],
        ["Time", duration(trained.seconds)],
        ["Versions", versions],
        ["sha256", f"`{weights.sha256}`"],
    ]
    return _table([f"`{weights.tag}`", ""], rows)


def _paper(card: Card) -> str:
    title = card.paper.title
    return f"[{title}](https://arxiv.org/abs/{card.paper.arxiv})" if card.paper.arxiv else title


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _front_matter(card: Card) -> dict[str, Any]:
    """What the Hub reads: licence, library, task, tags, data sets and results."""
    matter: dict[str, Any] = {"license": card.licence.lower(), "library_name": "structured-zoo"}
    if card.task in PIPELINE_TAGS:
        matter["pipeline_tag"] = PIPELINE_TAGS[card.task]
    matter["tags"] = ["structured-zoo", card.task, card.architecture]
    if card.paper.arxiv:
        matter["tags"].append(f"arxiv:{card.paper.arxiv}")
    matter["datasets"] = [re.sub(r"[^a-z0-9]+", "-", card.data.name.lower()).strip("-")]
    results = [result for weights in card.weights.values() for result in _results(card, weights)]
    if results:
        matter["model-index"] = [{"name": card.name, "results": results}]
    return matter


def _results(card: Card, weights: Weights) -> list[dict[str, Any]]:
    """The metrics of one weights file, in the Hub's words: one result for each data set."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for metric in weights.metrics:
        entry = {
            "type": metric.metric,
            "name": f"{metric.metric} ({weights.tag})",
            "value": metric.value,
        }
        grouped.setdefault((metric.dataset, metric.split), []).append(entry)
    return [
        {
            "task": {"type": PIPELINE_TAGS.get(card.task, card.task)},
            "dataset": {"type": dataset, "name": dataset, "split": split},
            "metrics": entries,
        }
        for (dataset, split), entries in grouped.items()
    ]


def _yaml(value: Mapping[str, Any], indent: str = "") -> str:
    """Block YAML for nested mappings, lists and scalars.

    Scalars are written as in JSON, which is YAML too, and leave no doubt about their type. The
    text depends on nothing but the card, unlike that of a YAML library of some version.
    """
    lines = []
    for key, item in value.items():
        if isinstance(item, Mapping):
            lines.append(f"{indent}{key}:\n{_yaml(item, indent + '  ')}")
        elif isinstance(item, list):
            lines.append(f"{indent}{key}:\n")
            lines += [_yaml_item(entry, indent) for entry in item]
        else:
            lines.append(f"{indent}{key}: {_scalar(item)}\n")
    return "".join(lines)


def _yaml_item(entry: Any, indent: str) -> str:
    if not isinstance(entry, Mapping):
        return f"{indent}- {_scalar(entry)}\n"
    block = _yaml(entry, indent + "  ")
    return f"{indent}- {block[len(indent) + 2 :]}"


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # YAML 1.1 takes 1e-05 for a text, and 1.0e-05 for a number.
    return re.sub(r"^(-?\d+)e", r"\1.0e", text) if isinstance(value, float) else text


def _block(name: str, text: str) -> str:
    return f"<!-- generated:{name} -->\n{text}\n<!-- /generated:{name} -->"


def _fill(body: str, name: str, text: str, path: Path) -> str:
    """Put `text` between the markers of block `name` in `body`, the text of `path`."""
    start, end = f"<!-- generated:{name} -->", f"<!-- /generated:{name} -->"
    if body.count(start) != 1 or body.count(end) != 1 or body.index(start) > body.index(end):
        raise CardError(f"{path}: expected the markers {start} and {end}, once each")
    before, rest = body.split(start)
    return before + _block(name, text) + rest.split(end)[1]


def _write(path: Path, text: str) -> bool:
    """Write `text` unless the file says so already; return whether it had to be written."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.write_text(text, encoding="utf-8", newline="\n")
    return True


def _generated(folder: Path) -> dict[Path, str]:
    """Every file with generated text -> what it should say."""
    cards = registry.cards()
    texts = {card.folder / "README.md": readme(card) for card in cards.values()}
    project = folder.parent / "README.md"
    # An installed package has the cards but not the project's README.
    if project.exists():
        body = project.read_text(encoding="utf-8")
        body = _fill(body, "models", models_table(cards.values()), project)
        classifiers = folder / MARKDOWN
        if classifiers.exists():
            table = classifiers.read_text(encoding="utf-8").rstrip("\n")
            body = _fill(body, "classifiers", table, project)
        texts[project] = body
    return texts


def main(argv: Sequence[str] | None = None) -> int:
    """Write all that is generated, or with `--check` name what differs; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m zoo.cards", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on differences")
    arguments = parser.parse_args(argv)
    try:
        texts = _generated(registry.cards_folder())
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    stale = 0
    for path, text in texts.items():
        if arguments.check and not (path.exists() and path.read_text(encoding="utf-8") == text):
            print(f"differs from its card, run `python -m zoo.cards`: {path}", file=sys.stderr)
            stale += 1
        elif not arguments.check and _write(path, text):
            print(f"wrote {path}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
