"""The deconvolutional generative model by brute force: all latents, rendered in NumPy.

Two layers small enough to be enumerated: a convolution of one filter with a 2 x 2 pool on a 4 x 4
image (four cells, each with 4 positions and 2 switches), and one that reads the 2 x 2 map as a
whole (a switch for each of its channels). It shares no code with `zoo.models`; it reads the weights
of a `zoo.models.dgm.DGM` by name.
"""

import itertools

import numpy as np

LAYERS = [
    {"channels": 1, "kernel": 3, "padding": 1, "pool": 2},
    {"channels": 2, "kernel": 2},
]
IMAGE_SHAPE = (1, 4, 4)
CLASSES = 3


class Enumeration:
    """All renderings of one class.

    Attributes:
        renderings: h(0), (Z, 4, 4).
        priors: Σ_ℓ ⟨b(ℓ), s(ℓ) ∘ h(ℓ)⟩, (Z,).
    """

    def __init__(self, weights: dict[str, np.ndarray], leak: float, label: int) -> None:
        lower, upper = weights["units.0.weight"], weights["units.1.weight"]
        template = weights["units.2.weight"][label]
        options = list(itertools.product((0, 1), (0, 1), (leak, 1.0)))  # row, column, switch
        # The picture that a cell of value 1 renders, for each of its options.
        pictures = np.zeros((4, 8, 6, 6))  # with a border, because filters overhang
        for cell, (option, (row, column, s)) in itertools.product(range(4), enumerate(options)):
            y, x = 2 * (cell // 2) + row, 2 * (cell % 2) + column
            pictures[cell, option, y : y + 3, x : x + 3] = s * lower[0, 0]
        choices = np.array(list(itertools.product(range(8), repeat=4)))  # (4096, 4)
        switches = np.array([s for *_, s in options])
        renderings, priors = [], []
        self._options, self._choices = options, choices
        self._above = list(itertools.product((leak, 1.0), repeat=2))
        for above in self._above:
            coarse = np.array(above) * template
            middle = np.einsum("c,cij->ij", coarse, upper[:, 0]).flatten()
            image = sum(middle[cell] * pictures[cell, choices[:, cell]] for cell in range(4))
            renderings.append(image[:, 1:5, 1:5])
            fine = switches[choices] @ middle
            priors.append(coarse @ weights["units.1.bias"] + fine * weights["units.0.bias"][0])
        self.renderings, self.priors = np.concatenate(renderings), np.concatenate(priors)

    def latents(self, z: int) -> tuple[list[int], list[float], list[float]]:
        """Positions of the cells (row-major in the 4 x 4 map), their switches, those above."""
        above, chosen = divmod(z, len(self._choices))
        picked = [self._options[option] for option in self._choices[chosen]]
        offsets = [
            4 * (2 * (cell // 2) + row) + 2 * (cell % 2) + column
            for cell, (row, column, _) in enumerate(picked)
        ]
        return offsets, [s for *_, s in picked], list(self._above[above])

    def scores(self, image: np.ndarray) -> np.ndarray:
        """⟨x, h(0)⟩ + prior of every configuration, (Z,), for x of (4, 4)."""
        return np.einsum("zij,ij->z", self.renderings, image) + self.priors
