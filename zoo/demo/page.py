"""The demo's page: one HTML file that needs nothing else, neither files nor network nor scripts."""

import base64
import html
from collections.abc import Sequence
from itertools import groupby

from torch import Tensor

from zoo.demo.scenes import ITERATIONS, Scene, Score, in_percent
from zoo.demo.sheet import to_png

__all__ = ["MARKER", "write_page"]

MARKER = '<meta name="generator" content="structured-zoo demo">'
"""Tells a page of the demo from any other."""

TITLES = {"noise": "Noise", "blur": "Blur", "occlusion": "Occlusion"}

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --paper: #fff; --card: #f6f8fa;
  --line: #d1d9e0; --right: #1a7f37; --wrong: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --paper: #0d1117;
  --card: #151b23; --line: #3d444d; --right: #3fb950; --wrong: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1rem 4rem; max-width: 60rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .75rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; }
p { max-width: 46rem; }
.note { color: var(--soft); font-size: .875rem; }
.right { color: var(--right); }
.wrong { color: var(--wrong); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3rem 1rem .3rem 0; text-align: left; border-bottom: 1px solid var(--line); }
details { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  margin: .75rem 0; padding: .75rem 1rem; }
summary { cursor: pointer; font-weight: 600; }
.row { display: grid; grid-template-columns: 6.5rem minmax(0, 27rem) 1fr; gap: .25rem 1rem;
  align-items: center; padding: .4rem 0; border-top: 1px solid var(--line); }
.row.head { border-top: 0; color: var(--soft); align-items: end; }
.row.head span { font-size: .78rem; }
.tiles { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: .4rem; }
.tiles img { display: block; width: 100%; image-rendering: pixelated; border-radius: .2rem; }
.said { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; font-size: .9rem; }
@media (max-width: 44rem) {
  .row { grid-template-columns: 1fr; }
  .row.head span { font-size: .66rem; }
  .row.head .said, .row.head > :first-child { display: none; }
  .said span::before { content: attr(data-who) ": "; color: var(--soft); }
}
"""

INTRODUCTION = (
    "Each row is one real test image of Fashion-MNIST: clean, corrupted, and as the feedback of "
    "CNN-F renders the corrupted one in its first, second and third pass. "
    "The feedback starts from the network's own class scores and runs its weights backwards, so it "
    "shows what the network takes the image to be; it is never given the clean image. "
    "On the right stands what the plain CNN and CNN-F say about the corrupted image: "
    '<span class="right">✓ green where right</span>, <span class="wrong">✗ red where wrong</span>.'
)


def write_page(
    scenes: Sequence[Scene], scores: Sequence[Score], classes: Sequence[str], origin: str
) -> str:
    """The whole page.

    Args:
        scenes: In the order in which they are shown, all severities of a kind in a row.
        scores: Rows of the table of accuracies.
        classes: Name of each label.
        origin: One sentence: which networks and images these are.
    """
    kinds = [_kind(kind, list(group), classes) for kind, group in groupby(scenes, lambda s: s.kind)]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{MARKER}
<title>CNN-F looks at corrupted images</title>
<style>{STYLE}</style>
</head>
<body>
<h1>CNN-F looks at corrupted images</h1>
<p>{INTRODUCTION}</p>
<p class="note">{html.escape(origin)}</p>
<h2>Accuracy</h2>
{_table(scores)}
{"".join(kinds)}
</body>
</html>
"""


def _table(scores: Sequence[Score]) -> str:
    rows = "\n".join(
        f"<tr><td>{html.escape(score.condition)}</td>"
        f"<td>{in_percent(score.cnn, score.n)}</td>"
        f"<td>{in_percent(score.cnnf, score.n)}</td>"
        f"<td>{score.difference}</td>"
        f"<td>{score.verdict}</td></tr>"
        for score in scores
    )
    return f"""<p class="note">Percent right of {scores[0].n:,} test images, ± one standard error. \
The difference is taken image by image, and is called clear from two standard errors on.
It is between these two networks: each was trained once, and another seed may order them \
otherwise.</p>
<div class="wide"><table>
<thead><tr><th>images</th><th>plain CNN</th><th>CNN-F</th><th>difference</th><th></th></tr></thead>
<tbody>
{rows}
</tbody>
</table></div>"""


def _kind(kind: str, scenes: Sequence[Scene], classes: Sequence[str]) -> str:
    first, *rest = scenes
    parts = [_scene(first, classes, " open"), *(_scene(scene, classes, "") for scene in rest)]
    return f"<h2>{TITLES[kind]}</h2>\n" + "\n".join(parts)


def _scene(scene: Scene, classes: Sequence[str], state: str) -> str:
    titles = ["clean", "corrupted", *(f"feedback {k}" for k in ITERATIONS)]
    head = "".join(f"<span>{title}</span>" for title in titles)
    rows = "\n".join(_row(scene, index, classes) for index in range(len(scene.labels)))
    return f"""<details{state}>
<summary>Severity {scene.severity} ({html.escape(scene.strength)})</summary>
<p class="note">{_caption(scene)}</p>
<div class="row head"><span></span><div class="tiles">{head}</div>
<div class="said"><span>plain CNN</span><span>CNN-F</span></div></div>
{rows}
</details>"""


def _caption(scene: Scene) -> str:
    """The errors as they were measured, and in plain words which are smaller than the input's."""
    corrupted, *rendered = scene.errors
    listed = ", ".join(f"{error:.4f}" for error in rendered)
    nearer = [str(k) for k, e in zip(ITERATIONS, rendered, strict=True) if e < corrupted]
    verdict = (
        f"Nearer to clean than the input: feedback {' and '.join(nearer)}."
        if nearer
        else "No feedback is nearer to clean than the input."
    )
    return (
        f"Mean squared error to the clean image, over these {len(scene.labels)} images: "
        f"corrupted {corrupted:.4f}; feedback {listed}. {verdict}"
    )


def _row(scene: Scene, index: int, classes: Sequence[str]) -> str:
    label = int(scene.labels[index])
    name = html.escape(classes[label])
    columns = {"clean": scene.clean, "corrupted": scene.corrupted}
    columns |= {
        f"feedback {k}": images for k, images in zip(ITERATIONS, scene.reconstructions, strict=True)
    }
    tiles = "".join(_tile(images[index], f"{name}, {how}") for how, images in columns.items())
    said = "".join(
        _said(int(predictions[index]), label, who, classes)
        for who, predictions in (("plain CNN", scene.cnn), ("CNN-F", scene.cnnf))
    )
    return (
        f'<div class="row"><span>{name}</span><div class="tiles">{tiles}</div>'
        f'<div class="said">{said}</div></div>'
    )


def _tile(image: Tensor, description: str) -> str:
    encoded = base64.b64encode(to_png(image)).decode("ascii")
    return f'<img src="data:image/png;base64,{encoded}" alt="{description}">'


def _said(prediction: int, label: int, who: str, classes: Sequence[str]) -> str:
    kind, mark = ("right", "✓") if prediction == label else ("wrong", "✗")
    name = html.escape(classes[prediction])
    return f'<span class="{kind}" data-who="{who}">{mark} {name}</span>'
