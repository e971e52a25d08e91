"""The part of the page on renderings."""

from collections.abc import Sequence
from html import escape

from zoo.demo.controls.page import image_rows
from zoo.demo.controls.sheet import Row
from zoo.demo.page import table
from zoo.demo.renderings.measure import Outcome
from zoo.demo.renderings.words import about, outcomes_table

__all__ = ["GIVEN", "INTRODUCTION", "LABELS", "LATENTS", "PRETRAINED", "write_renderings"]

INTRODUCTION = (
    "A deconvolutional generative model is a renderer: from a label it draws an image, coarse to "
    "fine, and at every layer latent variables say what is drawn (switches) and where "
    "(positions). Its inference is an ordinary convolutional network with the same weights, whose "
    "ReLUs choose the switches and whose pools choose the positions. So this classifier can show "
    "what it has seen."
)
PRETRAINED = "<code>dgm-fashion-mnist</code>, on test images of Fashion-MNIST."
GIVEN = "A model given by the caller, on test images of Fashion-MNIST."
LATENTS = (
    "Left the image and its latents, from fine to coarse: the share of channels that are switched "
    "on, and that choose a pixel. Right what the predicted label becomes with them, from coarse "
    "to fine: the mean over channels, orange above 0 and blue below, then the image."
)
LABELS = "The same latents under every label: what changes is what the label says."


def write_renderings(
    latents: tuple[Sequence[str], Sequence[Row]],
    labels: tuple[Sequence[str], Sequence[Row]],
    accuracy: float,
    outcomes: Sequence[Outcome],
    n: int,
    introduction: str,
) -> str:
    """Rows of latents and renderings, rows of labels, and the errors.

    Args:
        latents, labels: What the columns are, and the rows.
        accuracy: On `n` images.
        introduction: Whose they are, HTML.
    """
    return f"""<p>{introduction}</p>
<p>{LATENTS}</p>
{_grid(*latents)}
<h3>The same latents, another label</h3>
<p>{LABELS}</p>
{_grid(*labels)}
<p>{escape(about(accuracy, outcomes, n))}</p>
{table(outcomes_table(outcomes, n))}"""


def _grid(heads: Sequence[str], rows: Sequence[Row]) -> str:
    """A line of tiles for each row; in the heads _ is where a picture breaks the line."""
    return image_rows(rows, [head.replace("_", " ") for head in heads])
