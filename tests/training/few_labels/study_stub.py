"""A study in miniature: images of four pixels, a linear network, and a training of a few steps."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from zoo.data import ImageDataset, as_float
from zoo.training import Run
from zoo.training.few_labels.settings import FewLabelsSettings
from zoo.training.few_labels.split import split
from zoo.training.few_labels.study import Material, StudySettings

HOLD = "TEST_HOLD"
"""Environment: `KEY STEP FILE`; that row's process makes the file in that step, and waits."""
STEPS = 4
SMALL = ["--set", f"steps={STEPS}", "validation=100", "batch_size=16"]
"""Options of a command line."""


def images(split: str, n: int) -> ImageDataset:
    """n images of 2 × 2 pixels, noise on one of ten patterns, whose number is the label."""
    patterns = torch.randint(0, 200, (10, 1, 2, 2), generator=torch.Generator().manual_seed(0))
    stream = torch.Generator().manual_seed(len(split))
    labels = torch.arange(n) % 10
    noise = torch.randint(0, 56, (n, 1, 2, 2), generator=stream)
    grey = (patterns[labels] + noise).to(torch.uint8)
    return ImageDataset("tiny", split, grey, labels, [str(i) for i in range(10)])


def build(config: StudySettings) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 10))


def fit(model: nn.Module, train: ImageDataset, config: FewLabelsSettings, run: Run) -> nn.Module:
    """Steps of SGD on labelled images; a line in `fits` says which row was trained by whom."""
    with (run.folder.parent / "fits").open("a") as file:
        file.write(f"{run.name} {os.getpid()}\n")
    parts = split(train.labels, config.labels, validation=config.validation, seed=config.seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    for step in run.steps(config.steps, {"model": model, "optimizer": optimizer}, every_steps=1):
        hold(run.name, step)
        stream = run.generator("batch", step)
        places = torch.randint(len(parts.labelled), (config.labelled_batch,), generator=stream)
        index = parts.labelled[places]
        loss = F.cross_entropy(model(as_float(train.images[index])), train.labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(loss=loss.detach())
    return model


def hold(name: str, step: int) -> None:
    row, at, path = os.environ.get(HOLD, "- -1 -").split()
    if name == row and step == int(at):
        Path(path).touch()
        time.sleep(600)


def material() -> Material:
    return Material(images("train", 1400), images("test", 200), build, fit)
