"""What the training of the forecasters of decaying turbulence can be told."""

from dataclasses import dataclass
from typing import Literal

from zoo.training.settings import Settings, SettingsError, option

__all__ = ["TurbulenceSettings"]


@dataclass(frozen=True)
class TurbulenceSettings(Settings):
    """Settings of the neural ODE and of what it is compared with."""

    steps: int = option(1_000, "steps of the optimiser, for each try of the neural ODE")
    lstm_steps: int = option(3_000, "and of the LSTM: about as many as take the same time")
    batch_size: int = option(64, "windows of a batch, for each member")
    learning_rates: tuple[float, ...] = option(
        (3e-3, 1e-2), "of Adam at the beginning, each of them tried; it falls to 0 as a cosine"
    )
    decays: tuple[float, ...] = option((0.0, 1e-2), "weight decays of AdamW, each of them tried")
    step: float = option(0.125, "of the neural ODE's solver in training, in ln(1 + tau)")
    clip: float = option(1.0, "largest norm of the gradient of a member")
    energy: float = option(1.0, "weight of the error of ln k beside that of ln epsilon")
    members: int = option(5, "networks of an ensemble")
    inputs: tuple[Literal["skewness", "palinstrophy"], ...] = option(
        ("skewness", "palinstrophy"), "what a network is given beside k, epsilon and nu"
    )
    latent: int = option(1, "hidden variables of the neural ODE")
    hidden: int = option(16, "width of the two hidden layers of its field")
    encoder: int = option(8, "width of the layer that reads the start, of both networks")
    recurrent: int = option(7, "size of the state of the LSTM")
    horizon: float = option(2.0, "of the windows, in k/epsilon of their start")
    shortest: float = option(0.5, "least part of it that lies within the run")
    before: float = option(0.1, "first start before the peak of the dissipation, in k*/epsilon*")
    after: float = option(1.6, "last start after it, in k*/epsilon*")
    spacing: float = option(0.05, "of the starts, in k*/epsilon*")
    points: int = option(33, "times of a window that are compared")
    tag: str = option("decaying-turbulence", "tag of the weights in the card")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._more_than_zero(
            *(
                "steps",
                "lstm_steps",
                "batch_size",
                "clip",
                "members",
                "latent",
                "hidden",
                "encoder",
            ),
            *("recurrent", "horizon", "step", "shortest", "spacing"),
        )
        self._at_least_zero("energy", "before", "after")
        if self.points < 2:
            raise SettingsError(f"points: expected at least 2, found {self.points}")
        if self.shortest > self.horizon:
            raise SettingsError(
                f"shortest: expected at most the horizon {self.horizon}, found {self.shortest}"
            )
        for name, values in (("learning_rates", self.learning_rates), ("decays", self.decays)):
            least = "above 0" if name == "learning_rates" else "of at least 0"
            bad = any(value < 0 or (value == 0 and name == "learning_rates") for value in values)
            if not values or bad:
                raise SettingsError(f"{name}: expected numbers {least}, found {list(values)}")
