"""The demo's page: one HTML file that needs nothing else, neither files nor network nor scripts."""

import base64
import html
from collections.abc import Sequence

from zoo.demo.section import Section, Table
from zoo.demo.style import STYLE

__all__ = ["MARKER", "encoded", "figure", "table", "write_page"]

MARKER = '<meta name="generator" content="structured-zoo demo">'
"""Tells a page of the demo from any other."""

TITLE = "What structure does"
INTRODUCTION = (
    "Systems of structured-zoo, each beside what does without its structure, or beside the truth. "
    "All of it was computed on this machine, just now."
)


def write_page(sections: Sequence[Section]) -> str:
    """The whole page."""
    links = "\n".join(
        f'<li><a href="#{section.anchor}">{html.escape(section.title)}</a></li>'
        for section in sections
    )
    parts = "\n".join(
        f'<section id="{section.anchor}">\n<h2>{html.escape(section.title)}</h2>\n'
        f"{section.html}\n</section>"
        for section in sections
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{MARKER}
<title>structured-zoo: {TITLE.lower()}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{TITLE}</h1>
<p>{INTRODUCTION}</p>
<nav><ul>
{links}
</ul></nav>
{parts}
</body>
</html>
"""


def figure(name: str, light: bytes, dark: bytes, description: str) -> str:
    """A PNG for light pages and its twin for dark ones; `name` becomes a class."""
    return f"""<div class="wide"><picture>
<source srcset="{encoded(dark)}" media="(prefers-color-scheme: dark)">
<img class="curve {name}" src="{encoded(light)}" alt="{description}">
</picture></div>"""


def table(content: Table) -> str:
    """A table without its title, which stands in the text around it."""
    head = "".join(f"<th>{html.escape(title)}</th>" for title in content.columns)
    body = "\n".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
        for row in content.rows
    )
    return f"""<div class="wide"><table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table></div>"""


def encoded(png: bytes) -> str:
    """A PNG as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
