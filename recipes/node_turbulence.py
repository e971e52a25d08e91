"""Train a neural ODE to forecast the decay of turbulence, and what it is compared with.

The data are series of direct numerical simulations of decaying isotropic turbulence, which come
with the package; `zoo simulate turbulence` makes them, `--data FILE` takes another ensemble. The
neural ODE learns from the training runs, and so do an LSTM of its size and the closures. The run
folder gets `table.md` and `table.csv`, the errors of all of them on unseen runs, `forecast.png` and
`error.png`, and the card of the neural ODE. After Portwood et al., arXiv 1911.05180; own data and
protocol.

With ZOO_DATA=FOLDER (or `--data FOLDER`) the table has a further column if the 512³ run of A. A.
Wray is in FOLDER/turbulence/decaying-512.

The defaults are those of the weights in the card; `--preset cpu` is the same on one thread.
`--preset gpu` has not been run by us. `--smoke` runs the whole path in seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo import training
from zoo.data import decaying_turbulence
from zoo.data.decaying_turbulence import Run as Simulation
from zoo.demo.curves import to_png
from zoo.demo.turbulence.measure import FITTED, LEARNT, follow, of_every_kind
from zoo.demo.turbulence.picture import draw_forecasts
from zoo.errors import DataError
from zoo.metrics.turbulence import DATASET, ensemble_file
from zoo.metrics.turbulence_table import COLUMNS, columns, rows, to_csv
from zoo.models.turbulence import TurbulenceForecaster
from zoo.registry import cards_folder, read_card
from zoo.training import turbulence
from zoo.training.files import write_atomically
from zoo.training.finish import Line, finish
from zoo.training.turbulence_pictures import draw_errors
from zoo.training.turbulence_report import report

CARD = "node-turbulence"
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "steps": 3,
        "lstm_steps": 3,
        "batch_size": 8,
        "learning_rates": (1e-2,),
        "decays": (0.0,),
        "members": 2,
        "hidden": 4,
        "encoder": 4,
        "recurrent": 2,
        "spacing": 0.4,
        "tag": "smoke",
    },
    "cpu": {"threads": 1},
    "gpu": {"steps": 6_000, "lstm_steps": 18_000, "batch_size": 512, "members": 16},
}


@dataclass(frozen=True)
class Config(turbulence.TurbulenceSettings):
    """The settings of the weights in the card."""

    data: Path | None = training.option(
        None,
        "an ensemble of `zoo simulate turbulence`, or a folder of data sets; none or a folder: the "
        "ensemble that comes with the package",
        metavar="FILE",
    )


def train(config: Config, run: training.Run) -> None:
    path = ensemble_file(config.data)
    seen, held_out = (decaying_turbulence.load(split, path) for split in ("train", "validation"))
    for split, found in (("train", seen), ("validation", held_out)):
        if not found:
            raise DataError(
                f"{path or decaying_turbulence.BUNDLED} has no runs of the split {split!r}; "
                "training needs some of train and some of validation"
            )
    trained = turbulence.train(config, seen, held_out, run)
    if run.is_main:
        compare(config, run, trained)
    tests = {split: decaying_turbulence.load(split, path) for split in splits()}
    finish(
        run,
        trained.model,
        card=CARD,
        tag=config.tag,
        lines=lines(tests),
        data=config.data,
        dtype="float32",
        config=architecture(config),
    )


def compare(config: Config, run: training.Run, trained: turbulence.Trained) -> None:
    """Write the tables and the pictures of the neural ODE and its baselines."""
    path = ensemble_file(config.data)
    models: dict[str, TurbulenceForecaster] = {LEARNT: trained.model, **trained.baselines}
    asked = columns(path, config.data if path is None else None)
    table = rows(models, asked)
    texts = {
        "table.csv": to_csv(table),
        "table.md": report(table, models, asked, trained.history),
    }
    for name, text in texts.items():
        write_atomically(run.folder / name, text.encode())
    best = {LEARNT: trained.model, FITTED: trained.baselines[FITTED]}
    usual = {name: trained.baselines[name] for name in ("k-epsilon, 1.92", "k-epsilon, 11/6")}
    figures = {
        "forecast.png": draw_forecasts(follow({**usual, **best}, of_every_kind(path))),
        "error.png": draw_errors(models, asked),
    }
    for name, figure in figures.items():
        write_atomically(run.folder / name, to_png(figure))
    run.record(tries=[asdict(each) for each in trained.history])


def splits() -> list[str]:
    """The test splits."""
    return list(dict.fromkeys(column.split for column in COLUMNS))


def lines(tests: Mapping[str, Sequence[Simulation]]) -> list[Line]:
    """What the card says, of the runs of each split."""
    names = {split: ["epsilon-error", "k-error", "monotone"] for split in tests}
    names["test-seed"] += [
        "epsilon-error-similar",
        "k-error-similar",
        "epsilon-error-to-spread",
    ]
    return [
        Line(DATASET, len(found), name, split)
        for split, found in tests.items()
        for name in names[split]
        if found
    ]


def architecture(config: Config) -> dict[str, Any]:
    """What the settings change in the arguments that the architecture has in the card."""
    usual = read_card(cards_folder() / CARD).config
    chosen = {
        "inputs": config.inputs,
        "members": config.members,
        "latent": config.latent,
        "hidden": config.hidden,
        "encoder": config.encoder,
    }
    return {name: value for name, value in chosen.items() if usual[name] != value}


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name=CARD, doc=__doc__)
