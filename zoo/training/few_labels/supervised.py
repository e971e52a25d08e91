"""The baseline: the labelled images alone."""

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.training.few_labels.methods import Batch
from zoo.training.run import Stateful

__all__ = ["Supervised"]


class Supervised:
    """Cross-entropy of labelled images; unlabelled ones are never looked at."""

    def loss(self, model: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss = F.cross_entropy(model(batch.labelled).float(), batch.labels)
        return loss, {"cross_entropy": loss.detach()}

    def after_step(self, model: nn.Module, step: int) -> None:
        pass

    def state(self) -> dict[str, Stateful]:
        return {}

    def predictor(self, model: nn.Module) -> nn.Module:
        return model
