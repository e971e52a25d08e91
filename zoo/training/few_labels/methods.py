"""What a method of learning from few labels is, and how images are perturbed for all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.training.few_labels.settings import FewLabelsSettings
from zoo.training.run import Stateful

__all__ = ["Batch", "Method", "make", "perturb", "predict", "translate"]


@dataclass(frozen=True)
class Batch:
    """The images of a step, perturbed (`perturb`), on the device of the run.

    Args:
        labelled: float32 (B, C, H, W) in [0, 1].
        labels: int64 (B,).
        unlabelled: float32 (U, C, H, W) in [0, 1]; none for a method that uses none.
        again: draws the images anew: the same ones, [labelled; unlabelled], perturbed another way.
    """

    labelled: Tensor
    labels: Tensor
    unlabelled: Tensor
    again: Callable[[], Tensor]

    @property
    def images(self) -> Tensor:
        """[labelled; unlabelled], (B + U, C, H, W): one pass, one set of batch statistics."""
        return torch.cat([self.labelled, self.unlabelled])


class Method(Protocol):
    """A way to learn from labelled and unlabelled images."""

    def loss(self, model: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a step, from 0, and its parts (detached) for the log."""
        ...

    def after_step(self, model: nn.Module, step: int) -> None:
        """What is to be done when the optimiser has moved the weights."""
        ...

    def state(self) -> dict[str, Stateful]:
        """What a checkpoint must hold beside model, optimiser and schedule, by name."""
        ...

    def predictor(self, model: nn.Module) -> nn.Module:
        """The network that is validated, measured and exported."""
        ...


def make(config: FewLabelsSettings, model: nn.Module) -> Method:
    """The method that the settings name, for `model`, which is on its device."""
    # They import `Batch` from here.
    from zoo.training.few_labels.deconvolutional import Deconvolutional, DeconvolutionalTeacher
    from zoo.training.few_labels.mean_teacher import MeanTeacher
    from zoo.training.few_labels.pseudo_labels import PseudoLabels
    from zoo.training.few_labels.supervised import Supervised

    match config.method:
        case "deconvolutional":
            return Deconvolutional(config, model)
        case "deconvolutional-teacher":
            return DeconvolutionalTeacher(config, model)
        case "supervised":
            return Supervised()
        case "pseudo-labels":
            return PseudoLabels(config)
        case "mean-teacher":
            return MeanTeacher(config, model)
        case other:
            raise ValueError(f"method: expected one with a class of its own, found {other!r}")


def predict(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits, float32, of labelled (B, K) and unlabelled (U, K) images from one pass over both.

    Batch norm takes its statistics over both, so that those of the few labelled images do not
    rule.
    """
    logits = model(batch.images).float()
    labelled = len(batch.labelled)
    return logits[:labelled], logits[labelled:]


def perturb(images: Tensor, config: FewLabelsSettings, generator: torch.Generator) -> Tensor:
    """Images shifted, mirrored, and with Gaussian noise, clipped to [0, 1], as the settings say.

    Args:
        images: float32, (B, C, H, W) in [0, 1].
        generator: on the CPU.
    """
    if config.translate:
        images = translate(images, config.translate, generator)
    if config.flip:
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(
            mirrored.to(images.device)[:, None, None, None], images.flip(3), images
        )
    if config.noise:
        noise = torch.randn(images.shape, generator=generator).to(images.device)
        images = (images + config.noise * noise).clamp(0, 1)
    return images


def translate(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Shift each image by -pixels ... pixels rows and columns of its own; black comes in.

    Args:
        images: (B, C, H, W).
        generator: on the CPU.
    """
    n, _, height, width = images.shape
    shift = torch.randint(2 * pixels + 1, (2, n, 1), generator=generator)
    rows = (torch.arange(height) + shift[0])[:, :, None].to(images.device)
    columns = (torch.arange(width) + shift[1])[:, None, :].to(images.device)
    padded = F.pad(images, (pixels, pixels, pixels, pixels))
    batch = torch.arange(n, device=images.device)[:, None, None]
    # Indexing with the channels in between moves them last.
    return padded[batch, :, rows, columns].permute(0, 3, 1, 2)
