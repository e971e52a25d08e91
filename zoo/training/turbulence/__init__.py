"""Training of forecasters of decaying turbulence: a neural ODE, an LSTM and fitted closures."""

from zoo.training.turbulence.settings import TurbulenceSettings
from zoo.training.turbulence.train import Trained, Try, train

__all__ = ["Trained", "Try", "TurbulenceSettings", "train"]
