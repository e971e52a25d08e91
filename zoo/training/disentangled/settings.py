"""Settings of the training of disentangled StyleGANs."""

import math
from dataclasses import dataclass
from typing import Literal

from zoo.training.disentangled.growth import Growth
from zoo.training.settings import Settings, SettingsError, option

__all__ = ["DisentangledSettings"]

POSITIVE = (
    "batch_size",
    "labelled_batch",
    "learning_rate",
    "r1_every",
    "mixup",
    "ema_images",
    "image_size",
    "latent_dim",
    "style_dim",
    "mapping_layers",
    "mapping_rate",
    "features",
)
GROUP = 4
"""Images whose spread the discriminator sees."""
NOT_NEGATIVE = (
    "labels",
    "r1_weight",
    "code_weight_encoder",
    "code_weight_generator",
    "labelled_weight",
    "smoothness_weight",
)


@dataclass(frozen=True)
class DisentangledSettings(Settings):
    """What every recipe of a disentangled StyleGAN can be told.

    The defaults are those of the predecessor code where it has them: learning rate, Adam's betas,
    penalty at every step, one weight for all codes. Smoothness and its weight are ours.
    """

    method: Literal["semi-supervised", "supervised", "plain"] = option(
        "semi-supervised",
        "supervised: the encoder alone, on the labelled images; plain: a StyleGAN without codes",
    )
    labels: int = option(0, "labelled images; 0 for none")
    sizes: tuple[int, ...] = option((64,), "sides of the images, growing, the last the full size")
    images: tuple[int, ...] = option((1_000_000,), "real images to see at each size")
    fade: float = option(0.5, "share of a size's images while it fades in (not the first)")
    batch_size: int = option(32, "images of a batch, over all processes")
    labelled_batch: int = option(16, "labelled images in a step, and mixtures")
    learning_rate: float = option(1e-3, "of both players")
    cooling: float = option(0.0, "share of all steps, the last, while the rate falls to 0")
    betas: tuple[float, float] = option((0.0, 0.99), "of Adam")
    r1_weight: float = option(10.0, "of the penalty on the discriminator's slope")
    r1_every: int = option(1, "steps between two penalties, which weigh as much more")
    code_weight_encoder: float = option(1.0, "of generated images' codes, for the encoder")
    code_weight_generator: float = option(1.0, "of generated images' codes, for the generator")
    labelled_weight: float = option(1.0, "of labelled images' codes")
    smoothness_weight: float = option(1.0, "of the codes of mixtures (none without labels)")
    codes: Literal["uniform", "labelled"] = option(
        "uniform", "codes that the generator is told: any, or those of labelled images"
    )
    mixup: float = option(0.75, "ξ of the Beta(ξ, ξ) of their shares")
    ema_images: float = option(10_000.0, "half-life of the moving average of all weights")
    precision: Literal["float32", "bfloat16"] = option(
        "float32", "of convolutions and activations; the weights themselves stay in float32"
    )
    compile: bool = option(False, "compile what follows the generator's convolutions (needs g++)")
    image_size: int = option(64, "side of the images")
    channels: tuple[int, ...] | None = option(
        None, "of the maps at 4, 8, 16 ... pixels; none: 512 up to 32 pixels, then halved"
    )
    latent_dim: int = option(512, "numbers of z")
    style_dim: int = option(512, "numbers of a style")
    mapping_layers: int = option(8, "layers from z and codes to the style")
    mapping_rate: float = option(0.01, "their learning rate multiplier")
    features: int = option(512, "numbers that discriminator's and encoder's last layers read")
    factors: tuple[str, ...] = option((), "names of the factors to control; empty: all")
    tag: str = option("labels-0", "tag of the weights in the card")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._more_than_zero(*POSITIVE)
        self._at_least_zero(*NOT_NEGATIVE)
        if len(self.sizes) != len(self.images) or not self.sizes:
            raise SettingsError(
                f"images: expected one number for each of the {len(self.sizes)} sizes, "
                f"found {len(self.images)}"
            )
        doubled = all(b == 2 * a for a, b in zip(self.sizes, self.sizes[1:], strict=False))
        if not doubled or self.sizes[-1] != self.image_size:
            raise SettingsError(
                f"sizes: expected each twice the one before, the last {self.image_size}; "
                f"found {', '.join(map(str, self.sizes))}"
            )
        if any(count < self.batch_size for count in self.images):
            raise SettingsError(f"images: expected at least one batch, {self.batch_size}")
        for name in ("fade", "cooling"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name}: expected a share in [0, 1]")
        if self.batch_size % GROUP:
            raise SettingsError(
                f"batch_size: expected a multiple of {GROUP}, the images of a group; "
                f"found {self.batch_size}"
            )
        if self.codes == "labelled" and not self.labels:
            raise SettingsError("codes: those of labelled images need labels, found 0")
        if self.method == "supervised" and not self.labels:
            raise SettingsError("labels: supervision alone needs some, found 0")

    @property
    def growth(self) -> Growth:
        """Which size the images have at which step."""
        steps = [math.ceil(count / self.batch_size) for count in self.images]
        return Growth(self.sizes, steps, self.fade)

    @property
    def progressive(self) -> bool:
        """Whether the networks begin at a smaller size."""
        return len(self.sizes) > 1
