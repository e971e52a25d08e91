"""Train a latent ODE to forecast noisy spirals seen at irregular times, or a baseline of its size.

A series is 200 points of a spiral with noise of standard deviation 0.3; of the first 100 some are
observed, 20 to 100 of them at random, and the other 100 are to be forecast. The data are made on
the spot, as in arXiv 1806.07366: nothing is downloaded. `--kind gru` and `--kind gru-dt` train the
two recurrent networks that the latent ODE is compared with, on the same batches for as many steps,
and leave their weights in the run folder; only a latent ODE becomes a card.

The defaults are those of the weights in the card: about eight minutes of a CPU core for each kind.
`--preset cpu` is the same on one thread. `--smoke` runs the whole path in seconds.
"""

from dataclasses import asdict, dataclass
from typing import Any

from zoo import training
from zoo.data import spirals
from zoo.metrics.forecast import COUNTS
from zoo.models.gru_forecaster import GRUForecaster
from zoo.training.finish import Line, finish
from zoo.training.forecasting.fit import ForecastSettings, architecture, errors, fit, network

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "steps": 4,
        "batch_size": 8,
        "series": 16,
        "held_out": 8,
        "hidden": 8,
        "recurrent": 8,
        "gru_recurrent": 8,
        "gru_hidden": 8,
        "tag": "smoke",
    },
    "cpu": {"threads": 1},
}


@dataclass(frozen=True)
class Config(ForecastSettings):
    """The settings of the weights in the card."""


def train(config: Config, run: training.Run) -> None:
    series = spirals.load("train", config.series)
    model = network(config, series).to(run.device)
    fit(model, series, config, run)
    found = {
        split: {str(count): asdict(error) for count, error in each.items()}
        for split, each in errors(model, config.held_out).items()
    }
    run.record(errors=found, parameters=sum(each.numel() for each in model.parameters()))
    if isinstance(model, GRUForecaster):
        training.save_weights(run, model)
        return
    names = [f"{name}-{count}" for name in ("rmse", "rmse-window") for count in COUNTS]
    finish(
        run,
        model,
        card="latent-ode-spirals",
        tag=config.tag,
        lines=[] if config.tag == "smoke" else [Line("spirals", 1_000, name) for name in names],
        data=config.data,
        dtype="float32",
        config=architecture(config, "latent-ode-spirals"),
    )


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name="latent-ode-spirals", doc=__doc__)
