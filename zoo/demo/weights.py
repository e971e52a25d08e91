"""Models whose weights are still to be trained: their part of the demo is left out, and said so."""

from zoo import registry

__all__ = ["lacking"]


def lacking(name: str, what: str) -> str | None:
    """A sentence on a model without weights; None if it has some.

    Args:
        name: Of a card.
        what: What the demo cannot show without them.
    """
    card = registry.info(name)
    if card.weights:
        return None
    return f"No {what}: {name} has no weights yet. `python {card.recipe}` trains them."
