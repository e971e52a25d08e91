"""What a render process does: one scene and one context of OpenGL for its whole life.

It is started afresh, so that nothing here may import torch, which takes longer than a chunk.
"""

from __future__ import annotations

import faulthandler
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.simulations.robot_chunks import Chunk
from zoo.simulations.robot_scene import Renderer, indices_of

__all__ = ["draw", "start"]

_renderers: dict[tuple[int, str], Renderer] = {}
"""The only one of this process, made when the first chunk comes: an error then has a way back."""


def start() -> None:
    """Prepare the process: should it be killed by a signal, say where."""
    faulthandler.enable()


def draw(chunk: Chunk, size: int, arm: str) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """The scenes of a chunk as images (N, 3, size, size), and what drew them.

    Raises:
        SimulationError: MuJoCo, dm_control or OpenGL is missing.
    """
    if (size, arm) not in _renderers:
        _renderers[size, arm] = Renderer(size, arm)
    renderer = _renderers[size, arm]
    images = np.stack([renderer.render(indices) for indices in indices_of(chunk.numbers)])
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), renderer.drawn_by
