"""A deconvolutional generative model for tests: small, random, for 28 × 28 grey images."""

import torch

from zoo.models.dgm import DGM

LAYERS = (
    {"channels": 3, "kernel": 5, "padding": 4, "pool": 2},
    {"channels": 4, "kernel": 3, "padding": 2, "pool": 2},
    {"channels": 5, "kernel": 3, "padding": 1},
)
"""Maps of 32², 18² and 9²."""


def renderer(seed: int = 0) -> DGM:
    """In eval mode, with random weights."""
    torch.manual_seed(seed)
    return DGM(layers=LAYERS).eval()
