"""Entry points for `torch.hub`: every model of the zoo, as `cnnf-robust` and as `cnnf_robust`.

    torch.hub.load("<this repository>", "cnnf-robust", pretrained=True)

Every public function of this file is an entry point; everything else begins with an underscore.
"""

import importlib.util as _importlib_util
import sys as _sys
from collections.abc import Callable as _Callable
from pathlib import Path as _Path
from types import ModuleType as _ModuleType
from typing import Any as _Any

dependencies = ["torch", "safetensors"]


def _import_zoo(package: _Path) -> _ModuleType:
    """Import the package `zoo` from the folder `package`, whatever else is called `zoo`.

    `import zoo` would take the first one on the path, or one that is imported already. Once it is
    imported, its modules find each other by its own location: they do not need the path, which
    torch.hub changes back after the load.

    Raises:
        ImportError: if another `zoo` is imported already: two cannot live in one process.
    """
    present = _sys.modules.get("zoo")
    if present is not None:
        place = getattr(present, "__file__", None)
        if place is not None and _Path(place).resolve().parent == package:
            return present
        raise ImportError(
            f"the package 'zoo' is needed from {package}, but another module 'zoo' has been "
            f"imported already, from {place or 'an unknown place'}; load the model in a process "
            "that has not imported it"
        )
    spec = _importlib_util.spec_from_file_location("zoo", package / "__init__.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no package 'zoo' in {package}")
    module = _importlib_util.module_from_spec(spec)
    _sys.modules["zoo"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del _sys.modules["zoo"]
        raise
    return module


def _entry(zoo: _ModuleType, name: str) -> _Callable[..., _Any]:
    """The function that builds model `name`, documented by its card."""

    def build(pretrained: bool = False, *, tag: str | None = None, **config: _Any) -> _Any:
        return zoo.create(f"{name}.{tag}" if tag else name, pretrained, **config)

    card = zoo.info(name)
    weights = ", ".join(card.weights) or f"none yet, {card.recipe} trains them"
    build.__name__ = build.__qualname__ = name.replace("-", "_")
    build.__doc__ = f"""{card.summary}

    {card.paper.authors}: {card.paper.title}. {card.paper.venue}.

    Args:
        pretrained: Whether to load weights; otherwise they are random.
        tag: Which weights ({weights}); the default ones if None.
        **config: Settings of the architecture {card.architecture!r}, and `weights`, `device` and
            `dtype` as in `zoo.create`.
    """
    return build


def _entries() -> dict[str, _Callable[..., _Any]]:
    zoo = _import_zoo(_Path(__file__).resolve().parent / "zoo")
    entries = {name: _entry(zoo, name) for name in zoo.list_models()}
    return entries | {name.replace("-", "_"): entry for name, entry in entries.items()}


globals().update(_entries())
