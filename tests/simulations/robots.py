"""Robot scenes in tests: drawn where there is OpenGL, elsewhere a clear error instead."""

import functools
import os
import signal

import numpy as np

from zoo.errors import SimulationError
from zoo.simulations import robot_worker
from zoo.simulations.robot_chunks import Chunk
from zoo.simulations.robot_scene import Renderer

SIZE = 64


@functools.cache
def _renderer(arm: str) -> Renderer | SimulationError:
    try:
        return Renderer(SIZE, arm)
    except SimulationError as error:
        return error


def on_renderer(*arms: str):
    """Call the test with a renderer of each arm; where one is missing, see that the error helps."""

    def wrap(test):
        def wrapped():
            for arm in arms:
                renderer = _renderer(arm)
                if isinstance(renderer, SimulationError):
                    helps = ("structured-zoo[robot]", "MUJOCO_GL", "pip install --no-deps")
                    assert any(text in str(renderer) for text in helps)
                else:
                    test(renderer)

        wrapped.__name__, wrapped.__doc__ = test.__name__, test.__doc__
        return wrapped

    return wrap


def opengl() -> bool:
    """Whether this machine can draw the arm of capsules."""
    return isinstance(_renderer("primitive"), Renderer)


def paint(chunk: Chunk, size: int, arm: str):
    """Images that are quick to make, and tell their scenes: instead of a renderer."""
    noise = np.random.RandomState(int(chunk.numbers[0]) % 2**32)
    images = noise.randint(256, size=(len(chunk.numbers), 3, size, size), dtype=np.uint8)
    return images, {"arm of": arm}


def _die_once() -> None:
    """End the process as a crash would, unless one has died before."""
    try:
        os.close(os.open(os.environ["TEST_DIED"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def paint_or_die(chunk: Chunk, size: int, arm: str):
    """Like `paint`, but the process that has the third file dies once."""
    if chunk.index == 2:
        _die_once()
    return paint(chunk, size, arm)


def draw_or_die(chunk: Chunk, size: int, arm: str):
    """Like the real one, but the first process dies when it has drawn."""
    drawn = robot_worker.draw(chunk, size, arm)
    _die_once()
    return drawn


def die(chunk: Chunk, size: int, arm: str):
    """Only ever die."""
    os.kill(os.getpid(), signal.SIGKILL)
