"""What the presets of the recipes of disentangled StyleGANs share."""

from typing import Any

__all__ = ["BOUNDED", "SMALL", "SMOKE"]

SMALL: dict[str, Any] = {
    "image_size": 32,
    "sizes": (16, 32),
    "channels": (64, 64, 48, 32),
    "latent_dim": 64,
    "style_dim": 96,
    "mapping_layers": 3,
    "features": 128,
}
"""Narrow networks for 32 pixels."""
SMOKE: dict[str, Any] = {
    **SMALL,
    "dataset": "sample",
    "labels": 16,
    "images": (32, 32),
    "batch_size": 8,
    "labelled_batch": 4,
    "channels": (8, 8, 8, 8),
    "tag": "smoke",
}
"""A run that shows that the path works, no more."""
BOUNDED: dict[str, Any] = {
    **SMALL,
    "batch_size": 16,
    "labelled_batch": 8,
    "learning_rate": 3e-3,
    "cooling": 0.2,
    "r1_every": 16,
    "precision": "bfloat16",
    "threads": 1,
}
"""A run on one CPU core."""
