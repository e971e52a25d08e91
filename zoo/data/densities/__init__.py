"""The eight toy densities of FFJORD (Grathwohl et al., 2019), with their exact log-densities.

    moons = densities.get("moons")
    x = moons.sample(1000, torch.Generator().manual_seed(0))  # (1000, 2)
    moons.log_prob(x)  # (1000,), float64
    moons.entropy  # nats

The laws are those of `toy_data.py` of the authors' code. Where that one (or scikit-learn, which it
calls) sets out the points of a sample at equal steps or in equal numbers, the draws here are
independent. Entropies are rounded to 1e-6.
"""

import math
from collections.abc import Mapping

from zoo._names import did_you_mean
from zoo.data.densities.base import Density
from zoo.data.densities.blobs import Checkerboard, Circles, EightGaussians
from zoo.data.densities.curves import Moons, SwissRoll, TwoSpirals
from zoo.data.densities.pinwheel import Pinwheel
from zoo.errors import UnknownNameError

__all__ = ["NAMES", "Density", "get"]

_DENSITIES: Mapping[str, Density] = {
    density.name: density
    for density in (
        EightGaussians("8gaussians", entropy=2.831880, box=(-5.0, 5.0)),
        Checkerboard("checkerboard", entropy=math.log(32), box=(-4.0, 4.0)),
        Circles("circles", 3.268136, (-4.5, 4.5), radii=(3.0, 1.5), sigma=0.24),
        Circles("rings", 2.623183, (-3.5, 3.5), radii=(3.0, 2.25, 1.5, 0.75), sigma=0.08),
        Moons("moons", entropy=2.393879, box=(-4.5, 4.5)),
        SwissRoll("swissroll", entropy=2.669646, box=(-4.0, 4.0)),
        Pinwheel("pinwheel", entropy=2.317788, box=(-5.5, 5.5)),
        TwoSpirals("2spirals", entropy=2.645450, box=(-4.0, 4.0)),
    )
}

NAMES = tuple(_DENSITIES)
"""Of the eight densities."""


def get(name: str) -> Density:
    """The density called `name`.

    Raises:
        UnknownNameError: there is no such density; the text names the nearest.
    """
    if name not in _DENSITIES:
        raise UnknownNameError(f"no toy density {name!r}{did_you_mean(name, NAMES)}")
    return _DENSITIES[name]
