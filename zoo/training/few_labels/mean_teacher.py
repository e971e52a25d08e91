"""Mean teacher: the network agrees with the moving average of its own weights.

Tarvainen, Valpola, "Mean teachers are better role models: Weight-averaged consistency targets
improve semi-supervised deep learning results", NeurIPS 2017, arXiv 1703.01780, section 2:

    L = CE(student, labelled) + w(t) mean (softmax(student(x')) - softmax(teacher(x")))²

over the classes of all images, labelled or not, x' and x" perturbed in different ways; the
teacher's weights are θ' ← d θ' + (1 - d) θ, and no gradient reaches them. The teacher predicts.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.training.ema import EMA
from zoo.training.few_labels.methods import Batch, predict
from zoo.training.few_labels.settings import FewLabelsSettings
from zoo.training.run import Stateful

__all__ = ["MeanTeacher", "consistency", "sigmoid_ramp", "teacher_decay"]


class MeanTeacher:
    """The model is the student; the teacher begins as its copy.

    The teacher sees its images in eval mode, with the running statistics of the student's batch
    norm.
    """

    def __init__(self, config: FewLabelsSettings, model: nn.Module) -> None:
        self._weight = config.consistency_weight
        self._ramp = config.consistency_ramp * config.steps
        self._decays = config.teacher_decays
        self.teacher = EMA(model, decay=max(config.teacher_decays))

    def loss(self, model: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            target = self.teacher.module(batch.again()).float()
        labelled, unlabelled = predict(model, batch)
        supervised = F.cross_entropy(labelled, batch.labels)
        agreement = consistency(torch.cat([labelled, unlabelled]), target)
        loss = supervised + self._weight * sigmoid_ramp(step, self._ramp) * agreement
        return loss, {"cross_entropy": supervised.detach(), "consistency": agreement.detach()}

    def after_step(self, model: nn.Module, step: int) -> None:
        rising, afterwards = self._decays
        decay = teacher_decay(step, rising if step < self._ramp else afterwards)
        self.teacher.update(model, decay)

    def state(self) -> dict[str, Stateful]:
        return {"teacher": self.teacher}

    def predictor(self, model: nn.Module) -> nn.Module:
        return self.teacher.module


def consistency(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over images and classes of (softmax(student) - softmax(teacher))², logits (B, K)."""
    return F.mse_loss(student.softmax(1), teacher.softmax(1))


def sigmoid_ramp(step: float, length: float) -> float:
    """exp(-5 (1 - x)²) with x = step / length, and 1 from step `length` on."""
    return 1.0 if step >= length else math.exp(-5 * (1 - step / length) ** 2)


def teacher_decay(step: int, decay: float) -> float:
    """min(d, 1 - 1 / (step + 1)), step from 0: at first the plain mean of the weights so far."""
    return min(decay, 1 - 1 / (step + 1))
