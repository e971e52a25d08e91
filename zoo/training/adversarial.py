"""Adversarial training of feedback networks: the released recipe of CNN-F, and of its plain twin.

Every batch is attacked by PGD on the first bottom-up pass, then clean and attacked images run
through the loop. The loss asks every iterate of both for the label, and the feedback of the
attacked images for the features of the clean ones (a denoising reconstruction):

    Σ_t [c CE(y_t(x)) + CE(y_t(x'))] / (2 (K + 1))
    + λ Σ_t Σ_b MSE(recon_{b,t}(x'), feature_b(x, first pass)) / (B K)

With K = 0 this is adversarial training of the plain CNN.

Source: the training script released with arXiv 2007.09200. As there, gradients also flow into the
clean features that serve as targets. Two things differ: ε and steps are in units of [0, 1] images
(half the script's numbers), and clean and attacked images run one after the other instead of side
by side, which is the same function because images never see each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data import ImageDataset, as_float
from zoo.metrics import measured
from zoo.metrics.robustness import pgd, random_start
from zoo.models.feedback import FeedbackNetwork
from zoo.registry import Metric
from zoo.training.export import export
from zoo.training.progress import Progress
from zoo.training.randomness import batch_indices, steps_per_epoch
from zoo.training.run import Run, Stateful
from zoo.training.settings import Settings, SettingsError, option
from zoo.training.tensors import rounded

__all__ = ["AdversarialSettings", "attack", "finish", "fit", "objective"]

POSITIVE = (
    "epochs",
    "images",
    "batch_size",
    "learning_rate",
    "clip",
    "epsilon",
    "attack_step",
    "attack_steps",
)
NOT_NEGATIVE = ("momentum", "weight_decay", "iterations", "clean_weight", "reconstruction_weight")

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""Function of images (B, C, H, W) in [0, 1] and a generator, to images of the same shape."""


@dataclass(frozen=True)
class AdversarialSettings(Settings):
    """What the recipes of feedback networks share; the defaults are those of Fashion-MNIST."""

    epochs: int = option(200, "passes over the training set")
    images: int | None = option(None, "train on the first N images only", metavar="N")
    batch_size: int = option(256, "images per step, over all processes")
    learning_rate: float = option(0.05, "of SGD at the beginning; decays as (1 - step/steps)^0.9")
    momentum: float = option(0.9, "of SGD")
    weight_decay: float = option(5e-4, "of SGD")
    clip: float = option(0.5, "largest norm of the gradient")
    epsilon: float = option(0.1, "radius of the attack, L-infinity, images in [0, 1]")
    attack_step: float = option(0.0355, "step of the attack, in the same units")
    attack_steps: int = option(7, "steps of the attack")
    iterations: int = option(1, "K, iterations of the feedback loop in training")
    clean_weight: float = option(0.1, "c, weight of the cross-entropy of clean images")
    reconstruction_weight: float = option(0.1, "λ, weight of the reconstruction")
    precision: Literal["float32", "bfloat16"] = option(
        "float32", "of convolutions and activations; the weights themselves stay in float32"
    )
    tag: str = option("adversarial", "tag of the weights in the card")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"{name}: expected more than 0, found {value}")
        for name in NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise SettingsError(f"{name}: expected at least 0, found {getattr(self, name)}")


def fit(
    model: FeedbackNetwork,
    train: ImageDataset,
    config: AdversarialSettings,
    run: Run,
    *,
    augment: Augment | None = None,
) -> None:
    """Train `model` in place; it ends in eval mode, on the run's device."""
    model.to(run.device).train()
    images, labels = (t[: config.images].to(run.device) for t in (train.images, train.labels))
    total = config.epochs * steps_per_epoch(len(images), config.batch_size)
    optimizer = torch.optim.SGD(
        model.parameters(),
        config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total, power=0.9)
    state: dict[str, Stateful] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    for step in run.steps(total, state):
        index = batch_indices(len(images), config.batch_size, config.seed, step).to(run.device)
        clean = as_float(images[index])
        if augment is not None:
            clean = augment(clean, run.generator("augment", step))
        # Drawn for the global batch, so that the number of processes does not matter.
        start = random_start(clean, config.epsilon, run.generator("attack", step))
        clean, start, target = map(run.shard, (clean, start, labels[index]))
        hard = attack(model, clean, start, target, config)
        with _autocast(run.device, config.precision):
            loss, terms = objective(model, clean, hard, target, config)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        run.average_gradients(model.parameters())
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        schedule.step()
        run.log(loss=loss.detach(), **terms)
    model.eval()


def finish(
    model: FeedbackNetwork,
    config: AdversarialSettings,
    run: Run,
    *,
    card: str,
    lines: Sequence[tuple[str, int, str]],
) -> None:
    """Measure the model as it will be stored, in half precision, and export its card folder.

    Args:
        card: name of the card.
        lines: data set, number of its first test images, and metric, for every line of the card.
    """
    if not run.is_main:
        return
    command = f"zoo verify {card}.{config.tag} --metrics"
    blank = [Metric(dataset, "test", metric, 0.0, n, command) for dataset, n, metric in lines]
    final, metrics = rounded(model, "float16"), []
    with Progress(len(blank), title=f"{card} measure") as progress:
        for line in blank:
            metrics.append(measured(line, final, config.data))
            progress.advance({line.metric: metrics[-1].value})
    run.record(metrics={f"{each.dataset} {each.metric}": each.value for each in metrics})
    export(run, model, card=card, tag=config.tag, metrics=metrics, dtype="float16")


def attack(
    model: FeedbackNetwork,
    images: Tensor,
    start: Tensor,
    labels: Tensor,
    config: AdversarialSettings,
) -> Tensor:
    """Images that PGD finds against the first pass, with frozen weights in the run's precision."""
    dtype = getattr(torch, config.precision)
    weights = {name: weight.detach().to(dtype) for name, weight in model.named_parameters()}

    def first_pass(batch: Tensor) -> Tensor:
        logits: Tensor = torch.func.functional_call(model, weights, (batch,), {"iterations": 0})
        return logits.float()

    return pgd(
        first_pass,
        images,
        labels,
        epsilon=config.epsilon,
        step=config.attack_step,
        steps=config.attack_steps,
        start=start,
    )


def objective(
    model: FeedbackNetwork,
    images: Tensor,
    hard: Tensor,
    labels: Tensor,
    config: AdversarialSettings,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, and its parts (detached) for the log.

    Args:
        images: clean, (B, C, H, W) in [0, 1].
        hard: the same images under attack.
        labels: (B,).
    """
    count = config.iterations
    clean, attacked = model.trajectory(images, count), model.trajectory(hard, count)
    clean_loss, hard_loss = (
        torch.stack([F.cross_entropy(logits.float(), labels) for logits in t.logits]).mean()
        for t in (clean, attacked)
    )
    loss = 0.5 * (config.clean_weight * clean_loss + hard_loss)
    correct = (attacked.logits[-1].argmax(1) == labels).float().mean()
    terms = {"clean": clean_loss, "attacked": hard_loss, "robust_accuracy": correct}
    if count:
        distances = [
            _mean_square(rendered - target)
            for reconstruction in attacked.reconstructions
            for rendered, target in zip(reconstruction, clean.features[0], strict=True)
        ]
        reconstruction = torch.stack(distances).mean()
        loss = loss + config.reconstruction_weight * reconstruction
        terms["reconstruction"] = reconstruction
    return loss, {name: term.detach() for name, term in terms.items()}


def _mean_square(x: Tensor) -> Tensor:
    """Mean of x², accumulated in float32.

    A dot product over memory as it lies: unlike that of `F.mse_loss`, its gradient keeps the
    channels-last layout, and everything below it stays fast.
    """
    flat = x.float().permute(0, 2, 3, 1).reshape(-1)
    return torch.dot(flat, flat) / flat.numel()


def _autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
