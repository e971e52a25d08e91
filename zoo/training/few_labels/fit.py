"""The loop that all methods of learning from few labels share.

At every step the same number of images, the same perturbations, optimiser and schedule; what
differs is the loss. Every so many steps the network that predicts is measured on images held out
of the training set, and the weights that did best there are those that stay. No test image is read.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.data import ImageDataset, as_float
from zoo.training.feedback import half_precision
from zoo.training.few_labels.methods import Batch, make, perturb
from zoo.training.few_labels.settings import FewLabelsSettings
from zoo.training.few_labels.split import Split, split
from zoo.training.randomness import batch_indices
from zoo.training.restoring import warmup_and_cosine
from zoo.training.run import Run, Stateful
from zoo.training.settings import SettingsError

__all__ = ["Best", "accuracy", "endless", "fit"]

CHUNK = 500
"""Images of a pass of the validation."""


def fit(model: nn.Module, train: ImageDataset, config: FewLabelsSettings, run: Run) -> nn.Module:
    """Train `model`, function of images in [0, 1] to logits; its weights change.

    run.json gets the number of labelled images and the best validation accuracy and its step.

    Returns:
        What predicts (the model itself, or an average of its weights) with the weights of the best
        validation accuracy, the earlier of equal ones, in eval mode on the run's device.

    Raises:
        SettingsError: with several processes, or if there are not so many images.
    """
    if run.world_size > 1:
        # Batch norm would take the statistics of each process's share.
        raise SettingsError(f"expected one process, found {run.world_size}; leave torchrun out")
    model.to(run.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    train = train if config.images is None else train.head(config.images)
    parts = split(
        train.labels,
        config.labels,
        validation=config.validation,
        seed=config.seed,
        classes=len(train.classes),
    )
    method = make(config, model)
    predictor, best = method.predictor(model), Best()
    batches = _Batches(train, parts, config, run)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_and_cosine(step, config.warmup, config.steps)
    )
    state: dict[str, Stateful] = {
        "model": model,
        "optimizer": optimizer,
        "schedule": schedule,
        "best": best,
        **method.state(),
    }
    for step in run.steps(config.steps, state):
        with half_precision(run.device, config.precision):
            loss, terms = method.loss(model, batches.draw(step), step)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        method.after_step(model, step)
        run.log(loss=loss.detach(), **terms)
        if (step + 1) % config.evaluate_every == 0 or step + 1 == config.steps:
            measured = accuracy(predictor, *batches.validation, config.precision)
            best.offer(predictor, measured, step)
            run.log(validation_accuracy=measured)
    best.restore(predictor)
    run.record(
        labelled=len(parts.labelled),
        validation={"accuracy": best.accuracy, "step": best.step, "n": len(parts.validation)},
    )
    return predictor.eval()


class Best:
    """The weights with the best validation accuracy so far, part of a checkpoint.

    Attributes:
        accuracy: of these weights, in [0, 1]; -1 before the first.
        step: in which they were offered.
    """

    def __init__(self) -> None:
        self.accuracy, self.step = -1.0, -1
        self._weights: dict[str, Tensor] = {}

    def offer(self, network: nn.Module, accuracy: float, step: int) -> None:
        """Keep a copy of the weights if they are better than all before."""
        if accuracy > self.accuracy:
            self.accuracy, self.step = accuracy, step
            self._weights = copy.deepcopy(dict(network.state_dict()))

    def restore(self, network: nn.Module) -> None:
        """Load the kept weights."""
        network.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return {"accuracy": self.accuracy, "step": self.step, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.accuracy, self.step = state["accuracy"], state["step"]
        self._weights = dict(state["weights"])


class _Batches:
    """The images of every step, a function of seed and step alone."""

    def __init__(
        self, train: ImageDataset, parts: Split, config: FewLabelsSettings, run: Run
    ) -> None:
        self._config, self._run = config, run
        self._images = train.images.to(run.device)
        self._labels = train.labels
        self._parts = parts
        self._alone = config.method == "supervised"
        held_out = parts.validation
        self.validation = (
            self._images[held_out.to(run.device)],
            train.labels[held_out].to(run.device),
        )

    def draw(self, step: int) -> Batch:
        """The batch of a step; equally many images for every method."""
        config = self._config
        # Who learns from labels alone gets more labelled images in place of the unlabelled ones.
        count = config.labelled_batch + (config.unlabelled_batch if self._alone else 0)
        labelled = self._choose(self._parts.labelled, count, step, "labelled")
        rest = labelled[:0]
        if not self._alone:
            size = config.unlabelled_batch
            rest = self._choose(self._parts.unlabelled, size, step, "unlabelled")
        clean = as_float(self._images[torch.cat([labelled, rest]).to(self._run.device)])

        def perturbed(stream: str) -> Tensor:
            return perturb(clean, config, self._run.generator(stream, step))

        images = perturbed("perturb")
        return Batch(
            images[:count],
            self._labels[labelled].to(self._run.device),
            images[count:],
            again=lambda: perturbed("perturb again"),
        )

    def _choose(self, pool: Tensor, size: int, step: int, stream: str) -> Tensor:
        return pool[endless(len(pool), size, self._config.seed, step, stream)]


def endless(n: int, size: int, seed: int, step: int, stream: str) -> Tensor:
    """Positions `step * size ...` of an endless row of permutations of 0 ... n - 1.

    Unlike `batch_indices` it drops no rest of an epoch and takes an n below the size of the batch:
    at any step no example has come more than once more often than another.

    Returns:
        int64, (size,).
    """
    first, end = step * size, (step + 1) * size
    epochs = range(first // n, -(-end // n))
    row = torch.cat([batch_indices(n, n, seed, epoch, stream=stream) for epoch in epochs])
    return row[first - epochs.start * n : end - epochs.start * n]


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor, precision: str) -> float:
    """Share of images, uint8 (N, C, H, W), whose largest logit is that of the label, in eval mode.

    The network's mode is left as it was.
    """
    training = network.training
    network.eval()
    correct = 0
    for chunk, target in zip(torch.split(images, CHUNK), torch.split(labels, CHUNK), strict=True):
        with half_precision(images.device, precision):
            logits = network(as_float(chunk))
        correct += int((logits.argmax(1) == target).sum())
    network.train(training)
    return correct / len(images)
