"""What the training to restore owes to each of its parts: one short training for every change.

    python -m zoo.training.ablation --data DIR --out runs/ablation

Every row changes one setting of the recipe of `cnnf-robust.restoring` and trains for the same small
number of steps, with the same seed, images and corruptions. Scores are of the first test images:
the squared error that is left of the corruption after the first and the last feedback, and the
accuracy of the first pass, the last pass and their mean; each is a mean over noise, blur and
occlusion at severities 3 to 5. A row that is done is kept, so that a stopped table goes on.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from zoo import data
from zoo.data import as_float
from zoo.metrics.feedback_study import IterationRow, iterations
from zoo.models.cnnf import CNNF
from zoo.training import restoring
from zoo.training.files import read_json, write_json
from zoo.training.restoring import RestoringSettings
from zoo.training.run import Run

__all__ = ["CHANGES", "main"]

CHANGES: dict[str, dict[str, float]] = {
    "as in the recipe": {},
    "λ = 0.1, the released weight": {"reconstruction_weight": 0.1},
    "λ = 20": {"reconstruction_weight": 20.0},
    "η = 0.1, the released step": {"damping": 0.1},
    "η = 0.7": {"damping": 0.7},
    "K = 1": {"iterations": 1},
    "K = 0, the plain CNN": {"iterations": 0},
}
"""Row -> what it changes."""

RECIPE: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 64,
    "learning_rate": 0.003,
    "weight_decay": 1e-4,
    "clip": 1.0,
    "precision": "bfloat16",
    "threads": 1,
    "iterations": 2,
    "reconstruction_weight": 5.0,
}
DAMPING = 0.3
CONDITIONS = [(kind, level) for kind in ("noise", "blur", "occlusion") for level in (3, 4, 5)]

Scores = dict[str, float | None]


def score(model: CNNF, dataset: data.ImageDataset) -> Scores:
    """The means of a row; of a model without feedback, the accuracy of its only pass."""
    images, labels = as_float(dataset.images), dataset.labels
    most = model.iterations
    rows = list(iterations(model, images, labels, CONDITIONS, most))
    clean = next(iter(iterations(model, images, labels, [("clean", 0)], most)))
    found: Scores = {f"corrupted, {name}": value for name, value in _accuracies(rows).items()}
    found |= {f"clean, {name}": value for name, value in _accuracies([clean]).items()}
    found["left after the first feedback"] = fmean(r.remaining[0] for r in rows) if most else None
    found["left after the last feedback"] = fmean(r.remaining[-1] for r in rows) if most else None
    return found


def _accuracies(rows: Sequence[IterationRow]) -> dict[str, float]:
    return {
        "first pass": fmean(row.last[0] for row in rows),
        "last pass": fmean(row.last[-1] for row in rows),
        "mean": fmean(row.mean[-1] for row in rows),
    }


def train_and_score(
    change: dict[str, float],
    config: RestoringSettings,
    folder: Path,
    train: data.ImageDataset,
    test: data.ImageDataset,
) -> Scores:
    """One row: train in `folder`, or go on with what is there, and score on `test`."""
    damping = change.get("damping", DAMPING)
    changed = {name: value for name, value in change.items() if name != "damping"}
    config = replace(config, **changed)  # type: ignore[arg-type]
    command = "python -m zoo.training.ablation"
    resume = (folder / "run.json").exists()
    run = Run(
        folder, config, name="ablation", source=Path(__file__), command=command, resume=resume
    )
    with run:
        model = CNNF(feedback_to=0, iterations=config.iterations, damping=damping)
        restoring.fit(model, train, config, run)
    return score(model.cpu(), test)


def table(results: dict[str, Scores]) -> str:
    """The rows in Markdown, in percent."""
    columns = list(next(iter(results.values())))
    lines = [["training", *columns], ["---"] * (len(columns) + 1)]
    for name, found in results.items():
        cells = ["-" if value is None else f"{100 * value:.1f}" for value in found.values()]
        lines.append([name, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Train and score every row, then print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.training.ablation", description="One short training for every change."
    )
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: $ZOO_DATA)")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--steps", type=int, default=300, help="of every training")
    parser.add_argument("--images", type=int, default=500, help="test images that are scored")
    parser.add_argument(
        "--dataset",
        default="fashion-mnist",
        help="the sample of test images shows that the path works, no more",
    )
    parser.add_argument("--rows", type=int, default=len(CHANGES), help="only the first rows")
    options = parser.parse_args(argv)
    images = options.steps * RECIPE["batch_size"]
    config = RestoringSettings(**RECIPE, images=images, data=options.data)
    test = data.load(options.dataset, options.data, "test")
    sample = options.dataset == "fashion-mnist-sample"
    train = test if sample else data.load(options.dataset, options.data, "train")
    path = options.out / "ablation.json"
    results: dict[str, Scores] = read_json(path)["rows"] if path.exists() else {}
    for index, (name, change) in enumerate(list(CHANGES.items())[: options.rows]):
        if name not in results:
            folder = options.out / f"row-{index}"
            results[name] = train_and_score(
                change, config, folder, train, test.head(options.images)
            )
            write_json(path, {"steps": options.steps, "images": options.images, "rows": results})
    print(table(results))


if __name__ == "__main__":
    main()
