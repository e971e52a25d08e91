"""Supervision alone: the encoder of a disentangled StyleGAN, trained on the labelled images only.

The baseline that a semi-supervised training has to beat with the same labels. Network, batch size,
Adam, precision, the loss of labelled images and that of mixtures are the same; mixtures are of
labelled images only, and there is no generator. The images have their full size from the first step
on. Which step is the best says a tenth of the labelled images that the training does not look at;
no other image is looked at.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zoo.data import as_float
from zoo.models.controllable import Controllable
from zoo.training.disentangled.draws import Draws
from zoo.training.disentangled.fit import Average
from zoo.training.disentangled.losses import code_error, mix
from zoo.training.disentangled.settings import DisentangledSettings
from zoo.training.feedback import half_precision
from zoo.training.flows.best import Best
from zoo.training.randomness import generator
from zoo.training.run import Run, Stateful
from zoo.training.settings import SettingsError

__all__ = ["CHECK", "PATIENCE", "VALIDATION", "fit", "split"]

VALIDATION = 0.1
"""Share of the labelled images that the training does not look at."""
CHECK = 50
"""Steps between two looks at them."""
PATIENCE = 30
"""The training stops after so many looks without an improvement."""
BATCH = 250


class Watch(Best[Controllable]):
    """The best weights so far, and for how many looks they have been."""

    def __init__(self, model: Controllable) -> None:
        super().__init__(model)
        self.looks, self.best_step = 0, 0

    def look(self, step: int, model: Controllable, error: float) -> bool:
        """Whether to go on after this error on the validation images."""
        better = self.offer(model, error)
        self.looks = 0 if better else self.looks + 1
        self.best_step = step if better else self.best_step
        return self.looks < PATIENCE

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return {**super().state_dict(), "looks": self.looks, "best_step": self.best_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.looks, self.best_step = state["looks"], state["best_step"]
        super().load_state_dict({name: state[name] for name in ("loss", "copy")})


def split(labelled: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The labelled images to train on, and those that say when to stop.

    Args:
        labelled: indices (L,) of labelled images.
        seed: of the run.

    Raises:
        SettingsError: with fewer than two of them.
    """
    if len(labelled) < 2:
        raise SettingsError(
            "labels: expected at least 2, one to train on and one to stop by; "
            f"found {len(labelled)}"
        )
    held = max(1, round(VALIDATION * len(labelled)))
    order = labelled[torch.randperm(len(labelled), generator=generator(seed, "validation"))]
    return order[held:], order[:held]


def fit(
    model: Controllable,
    images: Tensor,
    codes: Tensor,
    labelled: Tensor,
    config: DisentangledSettings,
    run: Run,
) -> None:
    """Train the encoder of `model` in place, for as many steps as the settings say at most.

    It ends in eval mode, with the moving average of its weights that had the smallest error on the
    validation images. Which step that was goes into the run's record, as "supervised".

    Args:
        model: on the run's device; its generator stays what it is.
        images: the training set, uint8 (N, C, H, W).
        codes: (N, K); only those of labelled images are looked at.
        labelled: which images have labels, (L,).

    Raises:
        SettingsError: with fewer than two labels, or without factors.
    """
    if not model.factors:
        raise SettingsError("factors: supervision needs some, found none")
    kept, held = split(labelled, config.seed)
    # A batch of labelled images is as large as that of real ones where there is a generator.
    draws = Draws(
        model, images, codes, kept, replace(config, labelled_batch=config.batch_size), run
    )
    unseen = as_float(images[held]), codes[held]
    average, watch = Average(model, config.ema_images), Watch(model)
    encoder, batch = model.discriminator, config.batch_size
    optimizer = torch.optim.Adam(
        encoder.parameters(), config.learning_rate, betas=config.betas, eps=1e-8
    )
    state: dict[str, Stateful] = {
        "model": model,
        "ema": average,
        "watch": watch,
        "optimizer": optimizer,
    }
    model.train()
    total = config.growth.total
    for step in run.steps(total, state):
        optimizer.zero_grad()
        loss = _loss(model, draws, step, config, run)
        loss.backward()  # type: ignore[no-untyped-call]
        run.average_gradients([each for each in encoder.parameters() if each.grad is not None])
        optimizer.step()
        average.update_at((step + 1) * batch, batch, model)
        if (step + 1) % CHECK == 0 or step + 1 == total:
            error = _error(average.module, *unseen, config, run)
            run.log(validation=error)
            if not watch.look(step + 1, average.module, error):
                break
    encoder.load_state_dict(watch.module.discriminator.state_dict())
    model.eval()
    facts = {"best_step": watch.best_step, "validation_error": watch.loss}
    run.record(supervised={**facts, "trained_on": len(kept), "validated_on": len(held)})


def _loss(
    model: Controllable, draws: Draws, step: int, config: DisentangledSettings, run: Run
) -> Tensor:
    """The error of labelled images' codes and that of as many mixtures, weighted."""
    # The full size, which is that of the last step where there is a generator.
    level = config.growth.level(config.growth.total - 1)
    known, names = draws.labelled(step, level)
    count = len(known)
    mixed, between = mix(known, names, *draws.pairs(step, count, count))
    both = torch.cat([known, mixed]) if config.smoothness_weight else known
    raw = _read(model, both, config, run)
    labelled = code_error(raw[:count], names, model.layout)
    run.log(code_labelled=labelled)
    if not config.smoothness_weight:
        return config.labelled_weight * labelled
    smooth = code_error(raw[count:], between, model.layout)
    run.log(code_mixed=smooth)
    return config.labelled_weight * labelled + config.smoothness_weight * smooth


@torch.no_grad()
def _error(
    model: Controllable, images: Tensor, codes: Tensor, config: DisentangledSettings, run: Run
) -> float:
    """The mean error of the codes of validation images."""
    total = 0.0
    for part, target in zip(torch.split(images, BATCH), torch.split(codes, BATCH), strict=True):
        raw = _read(model, part.to(run.device), config, run)
        total += len(part) * float(code_error(raw, target.to(run.device), model.layout))
    return total / len(images)


def _read(model: Controllable, images: Tensor, config: DisentangledSettings, run: Run) -> Tensor:
    """Raw codes of images, in float32."""
    with half_precision(run.device, config.precision):
        maps = model.discriminator.maps(images)
        return model.discriminator.read(maps)
