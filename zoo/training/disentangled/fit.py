"""The training of a disentangled StyleGAN: two players, one step each."""

import functools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zoo.models.controllable import Controllable
from zoo.models.disentangled_style_gan import Generator
from zoo.models.style_generator import Epilogue, normalise_and_style
from zoo.training.disentangled.draws import Draws
from zoo.training.disentangled.losses import code_error, deceive, discriminate, mix, r1_penalty
from zoo.training.disentangled.settings import DisentangledSettings
from zoo.training.ema import EMA
from zoo.training.feedback import half_precision
from zoo.training.run import Run, Stateful

__all__ = ["Average", "cooled", "fit"]

Terms = Mapping[str, Tensor]


class Average(EMA[Controllable]):
    """The moving average of all weights, with a half-life in images.

    In the beginning the half-life is a twentieth of the images so far, or the first weights would
    stay in the average for long.
    """

    def __init__(self, model: Controllable, half_life: float) -> None:
        super().__init__(model, 0.0)
        self._half_life = half_life

    def update_at(self, seen: int, batch: int, model: nn.Module) -> None:
        """Take in the weights after `seen` images, of which the last step saw `batch`."""
        half_life = min(self._half_life, max(1.0, 0.05 * seen))
        self.update(model, 0.5 ** (batch / half_life))


def fit(
    model: Controllable,
    images: Tensor,
    codes: Tensor,
    labelled: Tensor,
    config: DisentangledSettings,
    run: Run,
) -> Controllable:
    """Train `model` in place; return the average of its weights, in eval mode.

    Args:
        model: a `DisentangledStyleGAN` or a `FineStyleGAN`, on the run's device.
        images: the training set, uint8 (N, C, H, W).
        codes: (N, K).
        labelled: which images have labels, (L,).
    """
    model.train()
    average = Average(model, config.ema_images)
    players = Players(model, Draws(model, images, codes, labelled, config, run), config, run)
    if config.compile:
        compile_epilogues(model)
    state: dict[str, Stateful] = {"model": model, "ema": average, **players.optimizers}
    growth, batch = config.growth, config.batch_size
    for step in run.steps(growth.total, state):
        if growth.begins(step):
            players.forget()
        run.log(**players.update(step))
        average.update_at((step + 1) * batch, batch, model)
    model.eval()
    return average.module


class Players:
    """The two optimisers and the step that each makes.

    Args:
        labelled: whether there are labelled images.
    """

    def __init__(
        self, model: Controllable, draws: Draws, config: DisentangledSettings, run: Run
    ) -> None:
        self._model, self._draws, self._config, self._run = model, draws, config, run
        adam = functools.partial(
            torch.optim.Adam, lr=config.learning_rate, betas=config.betas, eps=1e-8
        )
        self._generator: Generator = model.generator  # type: ignore[assignment]
        self.optimizers = {
            "generator_optimizer": adam(self._generator.parameters()),
            "discriminator_optimizer": adam(model.discriminator.parameters()),
        }

    def forget(self) -> None:
        """Begin with fresh moments, as at every new size."""
        for optimizer in self.optimizers.values():
            optimizer.state.clear()

    def update(self, step: int) -> Terms:
        """One step of the discriminator and encoder, then one of the generator."""
        config, level = self._config, self._config.growth.level(step)
        rate = config.learning_rate * cooled(step, config)
        terms: dict[str, Tensor] = {}
        loss = self._discriminator_loss(step, level, terms)
        if config.r1_weight and step % config.r1_every == 0:
            loss = loss + self._penalty(step, level, terms)
        self._descend(loss, self._model.discriminator, "discriminator_optimizer", rate)
        loss = self._generator_loss(step, level, terms)
        self._descend(loss, self._generator, "generator_optimizer", rate)
        return {name: term.detach() for name, term in terms.items()}

    def _discriminator_loss(self, step: int, level: float, terms: dict[str, Tensor]) -> Tensor:
        config, draws, layout = self._config, self._draws, self._model.layout
        real = draws.real(step, level)
        with half_precision(self._run.device, config.precision), torch.no_grad():
            z, codes, coarse = draws.told(step, "told-discriminator")
            fake = self._generator(z, codes, level=level, coarse=coarse)
        batches, targets = [real, fake], [codes]
        if config.labels:
            known, names = draws.labelled(step, level)
            # Labelled images and as many generated ones, mixed with one another.
            count = min(len(known), len(fake))
            pool = torch.cat([known, fake[:count]]), torch.cat([names, codes[:count]])
            mixed, between = mix(*pool, *draws.pairs(step, len(pool[0]), len(known)))
            batches, targets = [*batches, known, mixed], [codes, names, between]
        with half_precision(self._run.device, config.precision):
            maps = self._model.discriminator.maps(torch.cat(batches), level)
            # Groups of images, whose spread is seen, are all real or all generated.
            logits = self._model.discriminator.judge(maps[: len(real) + len(fake)])
            raw = self._model.discriminator.read(maps[len(real) :])
        judged = logits[: len(real)], logits[len(real) :]
        terms["adversarial"] = loss = discriminate(*judged)
        terms["real_logit"], terms["fake_logit"] = judged[0].mean(), judged[1].mean()
        if not layout.width:
            return loss
        weights = (config.code_weight_encoder, config.labelled_weight, config.smoothness_weight)
        names_of = ("code_generated", "code_labelled", "code_mixed")
        read = torch.split(raw, [len(each) for each in targets])
        for name, weight, said, target in zip(names_of, weights, read, targets, strict=False):
            terms[name] = code_error(said, target, layout)
            loss = loss + weight * terms[name]
        return loss

    def _penalty(self, step: int, level: float, terms: dict[str, Tensor]) -> Tensor:
        """R1, in full precision, for all the steps until the next."""
        images = self._draws.real(step, level).requires_grad_()
        logits = self._model.discriminator.judge(self._model.discriminator.maps(images, level))
        # The penalty is defined for images in [-1, 1], where a slope is half of that in [0, 1].
        terms["r1"] = penalty = r1_penalty(images, logits, self._config.r1_weight) / 4
        return penalty * self._config.r1_every

    def _generator_loss(self, step: int, level: float, terms: dict[str, Tensor]) -> Tensor:
        config = self._config
        z, codes, coarse = self._draws.told(step, "told-generator")
        with half_precision(self._run.device, config.precision):
            fake = self._generator(z, codes, level=level, coarse=coarse)
            logits, raw = self._model.discriminator(fake, level)
        terms["deceive"] = loss = deceive(logits)
        if self._model.layout.width and config.code_weight_generator:
            terms["code_generator"] = code_error(raw, codes, self._model.layout)
            loss = loss + config.code_weight_generator * terms["code_generator"]
        return loss

    def _descend(self, loss: Tensor, player: nn.Module, name: str, rate: float) -> None:
        """One step of one player; the gradients of the other are not computed."""
        optimizer = self.optimizers[name]
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        parameters = list(player.parameters())
        loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
        self._run.average_gradients(parameters)
        optimizer.step()


def cooled(step: int, config: DisentangledSettings) -> float:
    """The share of the learning rate at this step: 1, and in the end a line towards 0."""
    total = config.growth.total
    last = config.cooling * total
    return 1.0 if total - step >= last else (total - step) / last


def compile_epilogues(model: nn.Module) -> None:
    """Let every epilogue run as one compiled kernel; the convolutions stay as they are.

    Nothing is differentiated twice through the generator, which compiled code cannot be.
    """
    epilogues = [each for each in model.modules() if isinstance(each, Epilogue)]
    # One shape for each epilogue, with and without gradients, and while a size fades in.
    torch._dynamo.config.recompile_limit = 8 * len(epilogues)
    function = torch.compile(normalise_and_style, dynamic=False)
    for each in epilogues:
        each.function = function
