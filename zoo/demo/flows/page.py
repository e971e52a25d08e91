"""The part of the page on flows."""

from collections.abc import Sequence

from zoo.demo.flows.measure import Portrait, Score
from zoo.demo.flows.words import about_paths, about_scores, scores_table, what_they_are
from zoo.demo.page import figure, table

__all__ = ["GIVEN", "INTRODUCTION", "PRETRAINED", "write_flows"]

INTRODUCTION = (
    "A continuous normalising flow carries noise to data along an ordinary differential equation "
    "whose velocity is a network. The equation can be solved backwards, and the divergence of the "
    "velocity adds up to the change of the density: every point has an exact likelihood."
)
PRETRAINED = (
    "The flows of <code>cnf-toy</code>, each trained on one density of the plane. These densities "
    "are known exactly, so that it can be seen what a flow gets wrong."
)
GIVEN = "Flows given by the caller."


def write_flows(
    portraits: Sequence[Portrait],
    scores: Sequence[Score],
    introduction: str,
    light: bytes,
    dark: bytes,
) -> str:
    """The picture of all flows, and how near they are.

    Args:
        introduction: What flows they are, HTML.
        light, dark: PNG for light and dark pages.
    """
    return f"""<p>{INTRODUCTION}</p>
<p>{introduction} {about_paths(portraits)}</p>
{figure("flows", light, dark, "True density, the flow's density, samples and paths of every flow")}
<p class="note">Both densities of a column share their colours, from 0 to the highest of the true \
one. Neither samples nor paths were chosen; a path may begin outside the square.</p>
<p>{about_scores(scores)}</p>
{table(scores_table(scores, portraits))}
<p class="note">{what_they_are(scores)}</p>"""
