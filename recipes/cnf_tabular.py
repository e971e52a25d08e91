"""Train a continuous normalising flow on a table of real numbers.

The tables and what is done to them: `zoo.data.tabular`. Three of UCI's, and POWER, GAS, HEPMASS,
MINIBOONE and BSDS300 as published by the authors of MAF, which we have not had and not run. The
numbers of the tables with weights are in the card; they compare with nothing but the baselines
there, which have the same split.

Now and then the average of the weights is scored on the validation part, and the best is kept.
The velocity has two hidden layers: their divergence is exact at a cost that does not depend on the
number of columns.

The defaults are FFJORD's for tables, but for the exact trace, a cosine of the learning rate and a
moving average of the weights. `--preset cpu` made the weights in the card, in some minutes of one
CPU core; `--preset gpu` has not been run by us. `--smoke` needs a table, too, as none comes with
the package: it draws one.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from zoo import training
from zoo.data.tabular import NAMES, Parts, tabular
from zoo.models.cnf import CNF
from zoo.registry import cards_folder, read_card
from zoo.training.finish import Line, finish
from zoo.training.flows.best import Best
from zoo.training.flows.fit import fit
from zoo.training.flows.settings import FlowSettings

CARD = "cnf-tabular"
SMOKE_TABLE = "smoke"
"""A table that is drawn: correlated normal numbers."""

CPU: dict[str, Any] = {
    "likelihood_steps": 3_000,
    "batch_size": 256,
    "learning_rate": 5e-3,
    "method": "rk4",
    "solver_steps": 4,
    "hidden": (128, 128),
    "activation": "tanh",
    "validate": 100,
    "threads": 1,
}
GPU: dict[str, Any] = {
    "likelihood_steps": 30_000,
    "batch_size": 4_096,
    "method": "rk4",
    "solver_steps": 8,
    "hidden": (1_024, 1_024),
    "validate": 500,
}
SMOKE: dict[str, Any] = {
    "table": SMOKE_TABLE,
    "matching_steps": 2,
    "matching_batch": 16,
    "likelihood_steps": 4,
    "batch_size": 16,
    "method": "rk4",
    "solver_steps": 2,
    "hidden": (8, 8),
    "validate": 2,
    "tag": "smoke",
}
PRESETS = {"smoke": SMOKE, "cpu": CPU, "gpu": GPU}


@dataclass(frozen=True)
class Config(FlowSettings):
    """The settings of a flow of a table."""

    batch_size: int = training.option(1_000, "rows of a step of likelihood, over all processes")
    hidden: tuple[int, ...] = training.option(
        (256, 256), "widths of the velocity's hidden layers; two are fastest"
    )
    activation: Literal["tanh", "softplus", "silu", "sine"] = training.option(
        "softplus", "of the velocity"
    )
    weight_decay: float = training.option(1e-6, "of Adam")
    table: str = training.option("power-plant", "what to learn", choices=(*NAMES, SMOKE_TABLE))
    validate: int = training.option(500, "steps between two looks at the validation part")
    tag: str | None = training.option(None, "tag of the weights in the card; none: the table")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._more_than_zero("validate")


def load(config: Config) -> Parts:
    """The table, in three parts.

    Raises:
        DataError: it is not here, or damaged.
    """
    if config.table != SMOKE_TABLE:
        return tabular(config.table, config.data)
    rows = torch.randn(160, 3, generator=training.generator(0, "table")).cumsum(1)
    return Parts(rows[:128], rows[128:144], rows[144:])


def train(config: Config, run: training.Run) -> None:
    parts = load(config)
    dim = parts.train.shape[1]

    def draw(phase: str, step: int, n: int) -> Tensor:
        index = training.batch_indices(len(parts.train), n, config.seed, step, stream=phase)
        return parts.train[index]

    model = CNF(dim, config.hidden, config.activation, config.frequencies)
    model.standardise(parts.train)
    best = Best(model.to(run.device))
    validation = parts.validation.to(run.device)

    @torch.no_grad()
    def look(phase: str, done: int, average: CNF) -> None:
        last = done == getattr(config, f"{phase}_steps")
        if done % config.validate and not last:
            return
        # The solver of the metric: what is kept must not lean on the steps of the training.
        loss = -average.log_prob(validation).mean().item()
        best.offer(average, loss)
        run.log(validation=loss)

    fit(model, draw, config, run, after=look, state={"best": best})
    run.record(validation=best.loss)
    usual = read_card(cards_folder() / CARD).config
    own = {"dim": dim, **config.architecture()}
    changes = {name: value for name, value in own.items() if usual[name] != value}
    known = config.table != SMOKE_TABLE
    finish(
        run,
        best.module,
        card=CARD,
        tag=config.tag or config.table,
        lines=[Line(config.table, len(parts.test), "nll")] if known else [],
        data=config.data,
        dtype="float32",
        config=changes,
    )


if __name__ == "__main__":
    training.main(train, Config, presets=PRESETS, name=CARD, doc=__doc__)
