"""Training a network to read the factors of variation off images, with all labels.

The loss of an image is, over its factors,

    Σ_ordinal |e_k - c_k| + w Σ_categorical CE(e_k, c_k)

with the raw codes e, before they are clamped or normalised. An absolute error asks for the median,
which is what the mean absolute error measures; a factor without order gets a cross-entropy.
AdamW with a linear rise and half a cosine. Nothing is augmented: a shift of the picture would look
like another place of the robot or another height of the camera.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.data import as_float
from zoo.models.codes import Layout
from zoo.models.factor_encoder import FactorEncoder
from zoo.training.feedback import half_precision
from zoo.training.randomness import batch_indices, steps_per_epoch
from zoo.training.restoring import warmup_and_cosine
from zoo.training.run import Run, Stateful
from zoo.training.settings import Settings, SettingsError, option

__all__ = ["DTYPE", "FactorEncoderSettings", "fit", "objective"]

DTYPE = "int8"
"""How the weights are stored: a quarter of float32, with errors that stay the same."""


@dataclass(frozen=True)
class FactorEncoderSettings(Settings):
    """What a recipe of such a network can be told."""

    epochs: int = option(20, "passes over the training images")
    images: int | None = option(None, "train on the first N images only", metavar="N")
    batch_size: int = option(64, "images per step")
    learning_rate: float = option(2e-3, "of AdamW, the largest of its schedule")
    weight_decay: float = option(0.01, "of AdamW, on all parameters")
    warmup: int = option(200, "steps in which the learning rate rises, before the cosine")
    categorical_weight: float = option(1.0, "w, of the cross-entropies beside the absolute errors")
    precision: Literal["float32", "bfloat16"] = option(
        "float32", "of convolutions and activations; the weights themselves stay in float32"
    )
    tag: str = option("primitive-64", "tag of the weights in the card")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._more_than_zero("epochs", "images", "batch_size", "learning_rate")
        self._at_least_zero("weight_decay", "warmup", "categorical_weight")


def objective(
    raw: Tensor, indices: Tensor, layout: Layout, categorical_weight: float
) -> dict[str, Tensor]:
    """The loss of each factor, weighted, by its name; the training adds them up.

    Args:
        raw: codes (B, K) as the network gives them.
        indices: values (B, F), int64.
        categorical_weight: w of the module's formula.
    """
    codes = layout.encode(indices)
    losses = {}
    for column, factor in enumerate(layout.factors):
        own = layout.columns(factor.name)
        if factor.categorical:
            loss = categorical_weight * F.cross_entropy(raw[:, own], indices[:, column])
        else:
            loss = (raw[:, own] - codes[:, own]).abs().mean()
        losses[factor.name] = loss
    return losses


def fit(
    model: FactorEncoder,
    images: Tensor,
    indices: Tensor,
    config: FactorEncoderSettings,
    run: Run,
) -> None:
    """Train `model` in place; it ends in eval mode.

    Args:
        images: uint8, (N, C, S, S).
        indices: values of the model's factors, int64, (N, F).

    Raises:
        SettingsError: with several processes.
    """
    if run.world_size > 1:
        # Batch norm would take the statistics of each process's share.
        raise SettingsError(f"expected one process, found {run.world_size}; leave torchrun out")
    model.to(run.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    images, indices = (each[: config.images].to(run.device) for each in (images, indices))
    total = config.epochs * steps_per_epoch(len(images), config.batch_size)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_and_cosine(step, config.warmup, total)
    )
    state: dict[str, Stateful] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    for step in run.steps(total, state):
        index = batch_indices(len(images), config.batch_size, config.seed, step).to(run.device)
        with half_precision(run.device, config.precision):
            raw = model(as_float(images[index])).float()
        losses = objective(raw, indices[index], model.layout, config.categorical_weight)
        loss = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        run.log(loss=loss, **losses)
    model.eval()
