"""The deconvolutional model's own objective: what it says of images, it must be able to render.

    L = (1 - α) CE(best latents) + α CE(worst latents)                     labelled images
        + w_RC reconstruction + w_KL entropy + w_NN moments + w_PN path    all images

The first two are max-min: they bound the posterior from both sides. Labelled images are rendered
from their label, unlabelled ones from the predicted class, both with the latents that were
inferred. The terms are those of `zoo.training.few_labels.terms`; one of weight 0 is not computed,
and the dear ones are looked at every few steps and then count as often.

Source: arXiv 1811.02657 and the code released with it.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn

from zoo.models.batch_norm import Moments
from zoo.models.dgm import DGM
from zoo.models.units import ConvState, Rendered
from zoo.training.few_labels import terms
from zoo.training.few_labels.mean_teacher import MeanTeacher, sigmoid_ramp
from zoo.training.few_labels.methods import Batch
from zoo.training.few_labels.settings import FewLabelsSettings
from zoo.training.run import Stateful

__all__ = ["Deconvolutional", "DeconvolutionalTeacher"]


class Deconvolutional:
    """Cross-entropy of labelled images, rendering of all.

    Raises:
        TypeError: if the model does not render.
    """

    def __init__(self, config: FewLabelsSettings, model: nn.Module) -> None:
        if not isinstance(model, DGM):
            raise TypeError(f"method 'deconvolutional': expected a DGM, found {type(model)}")
        self._config = config

    def loss(self, model: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        return self.explained(model, batch, step)[:2]

    def explained(
        self, model: nn.Module, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """As `loss`, and the logits (B + U, K) of all images."""
        config, dgm = self._config, cast(DGM, model)
        logits, states = dgm.explain(batch.images)
        count = len(batch.labels)
        parts = {"cross_entropy": terms.cross_entropy(logits[:count], batch.labels)}
        weights = {"cross_entropy": 1.0 - config.min_weight}
        if config.min_weight and step % config.min_every == 0:
            lower = dgm.lower(batch.labelled)
            weights["lower_cross_entropy"] = config.min_weight * config.min_every
            parts["lower_cross_entropy"] = terms.cross_entropy(lower, batch.labels)
        if config.entropy_weight:
            ramp = sigmoid_ramp(step, config.entropy_ramp * config.steps)
            weights["entropy"] = config.entropy_weight * ramp
            parts["entropy"] = terms.entropy(logits)
        if config.reconstruction_weight or config.moment_weight or config.path_weight:
            labels = torch.cat([batch.labels, logits[count:].argmax(1)])
            rendered = dgm.descend(dgm.one_hot(labels), states)
            for name, weight, part in self._rendering(dgm, batch, states, rendered, labels, step):
                weights[name], parts[name] = weight, part
        loss = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return loss, {name: part.detach() for name, part in parts.items()}, logits

    def after_step(self, model: nn.Module, step: int) -> None:
        pass

    def state(self) -> dict[str, Stateful]:
        return {}

    def predictor(self, model: nn.Module) -> nn.Module:
        return model

    def _rendering(
        self,
        dgm: DGM,
        batch: Batch,
        states: list[ConvState | None],
        rendered: list[Rendered],
        labels: Tensor,
        step: int,
    ) -> list[tuple[str, float, Tensor]]:
        """Name, weight and value of the terms that need the rendering."""
        config, found = self._config, []
        if config.reconstruction_weight:
            images = dgm.normalised(batch.images)
            value = terms.reconstruction(images, rendered[-1].below)
            found.append(("reconstruction", config.reconstruction_weight, value))
        if config.moment_weight:
            pairs = [
                (each.moments, fixed(state.moments))
                for each, state in zip(rendered, reversed(states), strict=True)
                if each.moments is not None and state is not None and state.moments is not None
            ]
            found.append(("moments", config.moment_weight, terms.moment_matching(pairs)))
        if config.path_weight and step % config.path_every == 0:
            scores, peaks = dgm.path_score(rendered), dgm.prior_peak()
            size = math.prod(dgm.image_shape)
            value = terms.path_normalisation(scores, peaks, labels, size)
            found.append(("path", config.path_weight * config.path_every, value))
        return found


class DeconvolutionalTeacher(MeanTeacher):
    """The deconvolutional objective, and agreement with a mean teacher beside it.

    The teacher predicts and renders.
    """

    def __init__(self, config: FewLabelsSettings, model: nn.Module) -> None:
        super().__init__(config, model)
        self._own = Deconvolutional(config, model)

    def loss(self, model: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts, logits = self._own.explained(model, batch, step)
        weight, agreement = self.agreement(logits.float(), batch, step)
        return loss + weight * agreement, {**parts, "consistency": agreement.detach()}

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int) -> None:
        super().after_step(model, step)
        # The teacher's own upward passes keep those statistics; it never renders in training.
        own = dict(self.teacher.named_buffers())
        for name, buffer in model.named_buffers():
            if "norm_up" not in name:
                own[name].copy_(buffer)


def fixed(moments: Moments) -> Moments:
    """Moments that no gradient reaches: renderings follow images, not the other way round."""
    return Moments(moments.mean.detach(), moments.variance.detach())
