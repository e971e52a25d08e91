"""The demo: what the systems of the zoo do, each beside a baseline; a room for each of them.

`feedback` shows CNN-F and its plain twin on corrupted and attacked images, `players` two GANs, one
of which was trained by competitive gradient descent, `flows` continuous normalising flows beside
the densities that they have learnt, `series` the forecasts of a latent ODE, `turbulence` a
simulation and forecasts of how others decay, `controls` a GAN that is told by names what to draw,
and `renderings` a classifier that draws what it has seen.

>>> from zoo import demo
>>> demo.run("zoo-demo").index
PosixPath('zoo-demo/index.html')

The pictures of model cards: `python -m zoo.demo.pictures --out DIR`.
"""

from zoo.demo.build import DemoResult, run
from zoo.demo.section import DemoError

__all__ = ["DemoError", "DemoResult", "run"]
