"""What a trained model reads off images that it has not seen: numbers for the record of a run."""

import torch

from zoo.data import as_float
from zoo.data.robot_scenes import Scenes
from zoo.metrics import disentanglement
from zoo.models.controllable import Controllable

__all__ = ["BINS", "read"]

BINS = 20
"""Of the histograms of codes in the mutual information gap."""


@torch.no_grad()
def read(model: Controllable, scenes: Scenes, batch_size: int = 64) -> dict[str, float]:
    """The gap and the errors of the codes that the encoder reads.

    Args:
        scenes: images of the model's size, with its factors.

    Returns:
        `mig`, with BINS bins, over the factors that vary; `code-error`, the mean absolute error
        over all factors; and `code-error NAME` for each. A factor without order counts by the
        number k / (n - 1) of its most probable value k.
    """
    device = model.discriminator.dense.weight.device
    codes = torch.cat(
        [model.encode(as_float(part).to(device)).cpu() for part in _parts(scenes, batch_size)]
    )
    indices = scenes.values(model.factors)
    said = model.layout.scalars(codes)
    true = model.layout.scalars(model.layout.encode(indices))
    errors = disentanglement.mean_absolute_error(said.numpy(), true.numpy())
    single = zip(model.factors, errors.tolist(), strict=True)
    varying = indices.amin(0) < indices.amax(0)
    return {
        "mig": disentanglement.mig(said.numpy(), indices[:, varying].numpy(), bins=BINS),
        "code-error": float(errors.mean()),
        **{f"code-error {factor.name}": error for factor, error in single},
    }


def _parts(scenes: Scenes, size: int) -> list[torch.Tensor]:
    return [scenes.images[i : i + size] for i in range(0, len(scenes), size)]
