"""What the steps of a training draw, for all processes together: each gets its share."""

import torch
from torch import Tensor

from zoo.data import as_float
from zoo.models.controllable import Controllable
from zoo.models.fine_style_gan import FineStyleGAN
from zoo.training.disentangled.growth import at_level
from zoo.training.disentangled.settings import DisentangledSettings
from zoo.training.randomness import batch_indices, generator
from zoo.training.run import Run
from zoo.training.settings import SettingsError

__all__ = ["Draws", "choose_labelled"]


def choose_labelled(n: int, labels: int, seed: int) -> Tensor:
    """Which of `n` images have labels, (labels,); fewer labels are a part of more.

    Raises:
        SettingsError: if there are not so many images.
    """
    if labels > n:
        raise SettingsError(f"labels: expected at most {n}, as many as images; found {labels}")
    return torch.randperm(n, generator=generator(seed, "labelled"))[:labels]


class Draws:
    """Batches of real, generated and labelled images with their codes.

    Args:
        images: all images of the training set, uint8 (N, C, H, W).
        codes: those of all of them, (N, K); only the labelled ones are looked at.
        labelled: which are, (L,).
    """

    def __init__(
        self,
        model: Controllable,
        images: Tensor,
        codes: Tensor,
        labelled: Tensor,
        config: DisentangledSettings,
        run: Run,
    ) -> None:
        self._model, self._config, self._run = model, config, run
        self._images = images.to(run.device) if _fits(images, run.device) else images
        self._codes, self._labelled = codes[labelled].to(run.device), labelled

    def real(self, step: int, level: float) -> Tensor:
        """Real images of one step, in [0, 1], as they look at this level."""
        index = batch_indices(len(self._images), self._config.batch_size, self._config.seed, step)
        return self._take(self._run.shard(index), level)

    def told(self, step: int, stream: str) -> tuple[Tensor, Tensor, Tensor | None]:
        """Latent vectors, codes and, if the generator edits, the coarse images that it begins with.

        The codes are independent of the images.
        """
        random = self._run.generator(stream, step)
        count, device = self._config.batch_size, self._run.device
        z = self._model.latent(count, random)
        codes = self._told_codes(count, random)
        coarse = None
        if isinstance(self._model, FineStyleGAN):
            index = torch.randint(len(self._images), (count,), generator=random)
            coarse = self._model.coarse(self._bytes(self._run.shard(index)))
        return self._run.shard(z).to(device), self._run.shard(codes).to(device), coarse

    def _told_codes(self, count: int, random: torch.Generator) -> Tensor:
        if self._config.codes == "uniform":
            return self._model.layout.sample(count, random)
        # Where factors are not independent, as attributes of faces, any combination would ask for
        # what there is not.
        chosen = torch.randint(len(self._labelled), (count,), generator=random)
        return self._codes[chosen.to(self._codes.device)].cpu()

    def labelled(self, step: int, level: float) -> tuple[Tensor, Tensor]:
        """Labelled images and their codes; an own stream with its own epochs.

        With fewer labels than a batch holds, some are there several times.
        """
        count, available = self._config.labelled_batch, len(self._labelled)
        if available < count:
            random = self._run.generator("few-labels", step)
            index = torch.randint(available, (count,), generator=random)
        else:
            index = batch_indices(available, count, self._config.seed, step, stream="labelled")
        index = self._run.shard(index)
        return self._take(self._labelled[index], level), self._codes[index.to(self._run.device)]

    def pairs(self, step: int, of: int, count: int) -> tuple[Tensor, Tensor]:
        """Which of `of` images to mix: two for each of `count` mixtures, and the shares λ.

        Returns:
            Positions (2, count), different ones in a mixture, and λ (count,) from Beta(ξ, ξ).
        """
        random = self._run.generator("mixture", step, self._run.rank)
        order = torch.randperm(of, generator=random)
        chosen = torch.stack([order, order.roll(1)])[:, :count]
        share = _beta(self._config.mixup, count, random)
        return chosen.to(self._run.device), share.to(self._run.device)

    def _take(self, index: Tensor, level: float) -> Tensor:
        return at_level(self._bytes(index), level)

    def _bytes(self, index: Tensor) -> Tensor:
        chosen = self._images[index.to(self._images.device)]
        return as_float(chosen.to(self._run.device, non_blocking=True))


def _fits(images: Tensor, device: torch.device) -> bool:
    """Whether a set of images can stay on the device: as bytes, in half of what is free there."""
    return device.type != "cuda" or images.nbytes < torch.cuda.mem_get_info(device)[0] / 2


def _beta(xi: float, count: int, random: torch.Generator) -> Tensor:
    """Numbers (count,) from Beta(ξ, ξ), of a generator, which `torch.distributions` cannot take."""
    gamma = torch._standard_gamma(torch.full((2, count), xi), generator=random)
    return gamma[0] / gamma.sum(0)
