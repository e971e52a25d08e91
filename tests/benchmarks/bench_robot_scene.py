"""What a robot scene costs, on one core, by size of the image and quality of the drawing.

    python tests/benchmarks/bench_robot_scene.py [--scenes 20] [--rounds 3] [--arm primitive]

Prints milliseconds of the process's own time for one image, the least of the rounds. The settings
are drawn in turn, so that what else the machine does bears on all of them alike.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from zoo.simulations.robot_chunks import Ensemble
from zoo.simulations.robot_scene import ARMS, Renderer, indices_of

SETTINGS: dict[str, dict[str, Any]] = {
    "64 px": {"size": 64},
    "64 px, shadow map 512": {"size": 64, "shadow_map": 512},
    "64 px, no shadow": {"size": 64, "shadow_map": 0},
    "64 px, one sample a pixel": {"size": 64, "samples": 0},
    "64 px, finer boxes and balls": {"size": 64, "quads": 4, "slices": 28},
    "128 px": {"size": 128},
    "256 px": {"size": 256},
    "512 px": {"size": 512},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=20, help="a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of all settings (%(default)s)")
    parser.add_argument("--arm", choices=list(ARMS), default="primitive", help="%(default)s")
    options = parser.parse_args()
    scenes = indices_of(Ensemble().numbers(options.scenes))
    renderers = {name: Renderer(arm=options.arm, **settings) for name, settings in SETTINGS.items()}
    least = dict.fromkeys(renderers, float("inf"))
    for _ in range(options.rounds):
        for name, renderer in renderers.items():
            renderer.render(scenes[0])  # another context was the current one
            began = time.process_time()
            for indices in scenes:
                renderer.render(indices)
            least[name] = min(least[name], (time.process_time() - began) / len(scenes))
    print(renderers["64 px"].drawn_by)
    for name, seconds in least.items():
        print(f"{name:<30} {1e3 * seconds:7.1f} ms  {1 / seconds:6.1f} images/s")


if __name__ == "__main__":
    main()
