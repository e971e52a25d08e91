"""Mean teacher: the network agrees with the moving average of its own weights.

Tarvainen, Valpola, "Mean teachers are better role models: Weight-averaged consistency targets
improve semi-supervised deep learning results", NeurIPS 2017, arXiv 1703.01780, section 2:

    L = CE(student, labelled) + w(t) mean (softmax(student(x')) - softmax(teacher(x")))²

over the classes of all images, labelled or not, x' and x" perturbed in different ways; the
teacher's weights are θ' ← d θ' + (1 - d) θ, and no gradient reaches them. The teacher predicts.

The paper's d is 0.99 while w rises and 0.999 afterwards, over tens of thousands of steps. The
default here stays at 0.99: in a thousand steps an average over a thousand lags behind.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.training.few_labels.methods import Batch, predict
from zoo.training.few_labels.settings import FewLabelsSettings
from zoo.training.run import Stateful

__all__ = ["MeanTeacher", "consistency", "sigmoid_ramp", "teacher_decay"]


class MeanTeacher:
    """The model is the student; the teacher begins as its copy.

    The teacher is in train mode, as in the authors' code: its batch norms, too, take the statistics
    of the batch and keep running ones of their own. In eval mode with the student's running
    statistics, which do not fit averaged weights, it teaches much worse.
    """

    def __init__(self, config: FewLabelsSettings, model: nn.Module) -> None:
        self._weight = config.consistency_weight
        self._ramp = config.consistency_ramp * config.steps
        self._decays = config.teacher_decays
        self.teacher = copy.deepcopy(model).train().requires_grad_(False)

    def loss(self, model: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        labelled, unlabelled = predict(model, batch)
        supervised = F.cross_entropy(labelled, batch.labels)
        weight, agreement = self.agreement(torch.cat([labelled, unlabelled]), batch, step)
        loss = supervised + weight * agreement
        return loss, {"cross_entropy": supervised.detach(), "consistency": agreement.detach()}

    def agreement(self, logits: Tensor, batch: Batch, step: int) -> tuple[float, Tensor]:
        """w(t), and the distance of the student's logits (B + U, K) from the teacher's."""
        target = self.teacher(batch.again()).float()
        return self._weight * sigmoid_ramp(step, self._ramp), consistency(logits, target)

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int) -> None:
        rising, afterwards = self._decays
        decay = teacher_decay(step, rising if step < self._ramp else afterwards)
        # Not `EMA`, which would copy the student's running statistics as well.
        for average, weight in zip(self.teacher.parameters(), model.parameters(), strict=True):
            average.lerp_(weight, 1 - decay)

    def state(self) -> dict[str, Stateful]:
        return {"teacher": self.teacher}

    def predictor(self, model: nn.Module) -> nn.Module:
        return self.teacher


def consistency(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over images and classes of (softmax(student) - softmax(teacher))², logits (B, K)."""
    return F.mse_loss(student.softmax(1), teacher.softmax(1))


def sigmoid_ramp(step: float, length: float) -> float:
    """exp(-5 (1 - x)²) with x = step / length, and 1 from step `length` on."""
    return 1.0 if step >= length else math.exp(-5 * (1 - step / length) ** 2)


def teacher_decay(step: int, decay: float) -> float:
    """min(d, 1 - 1 / (step + 1)), step from 0: at first the plain mean of the weights so far."""
    return min(decay, 1 - 1 / (step + 1))
