"""Where the data sets lie: below a folder that the user names, in torchvision's own layout."""

import os
from pathlib import Path

from zoo.errors import DataError

__all__ = ["data_root"]


def data_root(root: str | Path | None = None) -> Path:
    """The folder of all data sets: `root`, else $ZOO_DATA.

    Raises:
        DataError: neither is given.
    """
    named = root or os.environ.get("ZOO_DATA")
    if not named:
        raise DataError(
            "no data folder is given: pass --data FOLDER, or set ZOO_DATA=FOLDER, where FOLDER "
            "holds data sets in torchvision's layout (for example FOLDER/FashionMNIST/raw)"
        )
    return Path(named).expanduser()
