"""The sheets of the section on renderings, for the demo and for model cards alike."""

from collections.abc import Sequence

from PIL import Image

from zoo.demo.controls.sheet import Row, draw_rows

__all__ = ["draw_labels", "draw_latents"]


def draw_latents(heads: Sequence[str], rows: Sequence[Row]) -> Image.Image:
    """Images, their latents, and what they render from coarse to fine."""
    under = "Latents: share of channels that are on, that choose a pixel. Rendered: mean over them."
    return draw_rows("An image, its latents, its rendering", under, rows, heads=heads)


def draw_labels(heads: Sequence[str], rows: Sequence[Row]) -> Image.Image:
    """Images, and their latents rendered under every label."""
    under = "Left what is given; its latents stay, and every label is rendered with them."
    return draw_rows("The same latents, another label", under, rows, heads=heads)
