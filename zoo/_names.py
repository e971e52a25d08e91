"""Names as people write them: natural order, and the nearest ones to a name that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["did_you_mean", "natural_key", "nearest"]


def nearest(word: str, candidates: Iterable[str]) -> list[str]:
    """The one to three names most like `word`, best first; none only without candidates."""
    import difflib

    names = sorted(candidates, key=natural_key)
    close = difflib.get_close_matches(word, names, n=3)
    # Far off is still better than nothing: it shows what a name looks like.
    return close or difflib.get_close_matches(word, names, n=1, cutoff=0.0)


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """The end of an error text, such as ` (did you mean 'a' or 'b'?)`; empty without candidates."""
    names = [repr(name) for name in nearest(word, candidates)]
    return f" (did you mean {' or '.join(names)}?)" if names else ""


def natural_key(name: str) -> list[str | int]:
    """A sort key by which `x-2` comes before `x-10`."""
    # Text and digits alternate in the split, so that like is always compared with like.
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
