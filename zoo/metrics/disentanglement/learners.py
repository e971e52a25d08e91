"""scikit-learn, which two of the metrics need and nothing else does."""

import importlib
from typing import Any

from zoo.errors import ZooError

__all__ = ["MissingExtraError", "sklearn"]


class MissingExtraError(ZooError, ImportError):
    """A library that an extra of the package brings is not here."""


def sklearn(module: str) -> Any:
    """The module `sklearn.<module>`.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise MissingExtraError(
            "DCI and SAP need scikit-learn, which is not here: "
            "pip install 'structured-zoo[metrics]'"
        ) from error
