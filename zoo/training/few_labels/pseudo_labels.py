"""Pseudo-labels: the network's own prediction is taken for the label where there is none.

Lee, "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural
Networks", ICML 2013 workshop on challenges in representation learning, equations 15 and 16:

    L = CE(labelled) + α(t) CE(unlabelled, argmax of their own logits)

with α = 0 before step T₁, then rising linearly to its largest value at step T₂.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.training.few_labels.methods import Batch, predict
from zoo.training.few_labels.settings import FewLabelsSettings
from zoo.training.run import Stateful

__all__ = ["PseudoLabels", "linear_ramp", "pseudo_label_loss"]


class PseudoLabels:
    """The labels are drawn anew at every step, from the pass that the loss is taken of."""

    def __init__(self, config: FewLabelsSettings) -> None:
        self._weight = config.pseudo_weight
        self._begin = config.pseudo_begin * config.steps
        self._full = config.pseudo_full * config.steps

    def loss(self, model: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        labelled, unlabelled = predict(model, batch)
        supervised = F.cross_entropy(labelled, batch.labels)
        pseudo = pseudo_label_loss(unlabelled)
        weight = self._weight * linear_ramp(step, self._begin, self._full)
        loss = supervised + weight * pseudo
        return loss, {"cross_entropy": supervised.detach(), "pseudo_label": pseudo.detach()}

    def after_step(self, model: nn.Module, step: int) -> None:
        pass

    def state(self) -> dict[str, Stateful]:
        return {}

    def predictor(self, model: nn.Module) -> nn.Module:
        return model


def pseudo_label_loss(logits: Tensor) -> Tensor:
    """Mean cross-entropy of logits (U, K) with their own argmax as the label, a scalar."""
    # An argmax has no gradient: the label is a constant.
    return F.cross_entropy(logits, logits.argmax(1))


def linear_ramp(step: float, begin: float, full: float) -> float:
    """0 until step `begin`, 1 from step `full` on, and a straight line between (equation 16)."""
    if step < begin:
        return 0.0
    return 1.0 if step >= full else (step - begin) / (full - begin)
