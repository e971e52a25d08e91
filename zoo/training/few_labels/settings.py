"""Settings of the trainings with few labels: one set for all methods, so that budgets compare."""

from dataclasses import dataclass
from typing import Literal

from zoo.training.settings import Settings, SettingsError, option

__all__ = ["FewLabelsSettings"]

POSITIVE = (
    "labels",
    "steps",
    "batch_size",
    "images",
    "validation",
    "learning_rate",
    "evaluate_every",
    "path_every",
    "min_every",
)
NOT_NEGATIVE = (
    "warmup",
    "weight_decay",
    "translate",
    "noise",
    "pseudo_weight",
    "consistency_weight",
    "reconstruction_weight",
    "entropy_weight",
    "moment_weight",
    "path_weight",
    "min_weight",
)
SHARES = ("labelled_share", "pseudo_begin", "pseudo_full", "consistency_ramp", "entropy_ramp")


@dataclass(frozen=True)
class FewLabelsSettings(Settings):
    """What a recipe with few labels can be told."""

    labels: int | None = option(1000, "labelled images, balanced; none: all", metavar="N")
    method: Literal[
        "supervised",
        "pseudo-labels",
        "mean-teacher",
        "deconvolutional",
        "deconvolutional-teacher",
    ] = option("deconvolutional", "how the unlabelled images are used")
    steps: int = option(4000, "steps of the optimiser")
    images: int | None = option(None, "train on the first N images only", metavar="N")
    batch_size: int = option(32, "images per step, for all methods alike")
    labelled_share: float = option(
        0.5, "share of them that is labelled; 'supervised' takes labelled ones only"
    )
    validation: int = option(
        1000, "images held out to choose the best weights; the test set is not"
    )
    learning_rate: float = option(7e-3, "of AdamW, the largest of its schedule")
    warmup: int = option(100, "steps in which the learning rate rises, before half a cosine to 0")
    weight_decay: float = option(0.01, "of AdamW, on all parameters")
    translate: int = option(2, "pixels by which training images are shifted at most; all methods")
    flip: bool = option(False, "whether training images are mirrored at random; all methods")
    noise: float = option(0.0, "standard deviation of the noise on training images; all methods")
    precision: Literal["float32", "bfloat16"] = option(
        "float32", "of convolutions and activations; the weights themselves stay in float32"
    )
    evaluate_every: int = option(400, "steps between two looks at the validation images")
    tag: str = option("labels-1000", "tag of the weights in the card")
    pseudo_weight: float = option(1.0, "largest weight of the pseudo-labels")
    pseudo_begin: float = option(0.1, "share of the steps before pseudo-labels count")
    pseudo_full: float = option(0.6, "share of the steps after which their weight is the largest")
    consistency_weight: float = option(10.0, "largest weight of agreement with the mean teacher")
    consistency_ramp: float = option(0.3, "share of the steps in which that weight rises")
    teacher_decays: tuple[float, float] = option(
        (0.99, 0.99), "of the mean teacher's average, while the weight rises and afterwards"
    )
    reconstruction_weight: float = option(0.03, "of the rendering's squared distance to the image")
    entropy_weight: float = option(1.0, "of the entropy of the predictions")
    entropy_ramp: float = option(0.3, "share of the steps in which that weight rises")
    moment_weight: float = option(0.005, "of the distance between moments, bottom-up and top-down")
    path_weight: float = option(0.02, "of the rendering path's negative log prior")
    path_every: int = option(4, "steps from one look at it to the next; it counts as often")
    min_weight: float = option(0.1, "of the cross-entropy of the worst latents, from 0 to 1")
    min_every: int = option(4, "steps from one look at them to the next; they count as often")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._more_than_zero(*POSITIVE)
        self._at_least_zero(*NOT_NEGATIVE)
        for name in SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name}: expected 0 to 1, found {getattr(self, name)}")
        if not 1 <= self.labelled_batch < self.batch_size:
            raise SettingsError(
                f"labelled_share: expected 1 to {self.batch_size - 1} of {self.batch_size} images "
                f"of a batch, found {self.labelled_batch}"
            )
        if self.pseudo_begin > self.pseudo_full:
            raise SettingsError(
                f"pseudo_begin: expected at most pseudo_full, which is {self.pseudo_full}, "
                f"found {self.pseudo_begin}"
            )
        if not all(0 <= decay < 1 for decay in self.teacher_decays):
            raise SettingsError(
                f"teacher_decays: expected 0 to less than 1, found {self.teacher_decays}"
            )
        if self.min_weight > 1:
            raise SettingsError(f"min_weight: expected at most 1, found {self.min_weight}")

    @property
    def labelled_batch(self) -> int:
        """Labelled images of a step."""
        return round(self.labelled_share * self.batch_size)

    @property
    def unlabelled_batch(self) -> int:
        """The other images of a step."""
        return self.batch_size - self.labelled_batch
