"""Made-up files in torchvision's layout of CelebA: grey, no faces."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CelebA

from zoo.data.celeba import ATTRIBUTES


def write(root: Path, splits: Sequence[int], patch: pytest.MonkeyPatch) -> np.ndarray:
    """Images 000001.jpg ... with random attributes, and let torchvision know the lists' md5s.

    Returns:
        The attributes, -1 or 1, (N, 40).
    """
    draw = np.random.default_rng(0)
    folder = root / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{index + 1:06}.jpg" for index in range(len(splits))]
    attributes = draw.choice([-1, 1], (len(splits), len(ATTRIBUTES)))
    for index, name in enumerate(names):
        picture = np.full((218, 178, 3), 30 * (index % 8), np.uint8)
        picture[:20] = picture[-20:] = 255  # the rows that are cut off
        Image.fromarray(picture).save(folder / "img_align_celeba" / name, quality=100)
    # The official header ends with a space, and its numbers stand in columns.
    rows = [
        f"{n} " + " ".join(f"{v:2d}" for v in row) for n, row in zip(names, attributes, strict=True)
    ]
    lists = {
        "list_attr_celeba.txt": [str(len(names)), " ".join(ATTRIBUTES) + " ", *rows],
        "list_eval_partition.txt": [f"{n} {split}" for n, split in zip(names, splits, strict=True)],
        "identity_CelebA.txt": [f"{n} {index}" for index, n in enumerate(names)],
        "list_bbox_celeba.txt": [
            "",
            "image_id x_1 y_1 width height",
            *(f"{n} 1 2 3 4" for n in names),
        ],
        "list_landmarks_align_celeba.txt": ["", "lefteye_x", *(f"{n} 69 109" for n in names)],
    }
    official = []
    for name, lines in lists.items():
        text = "\n".join(lines) + "\n"
        (folder / name).write_text(text)
        official.append(("", hashlib.md5(text.encode()).hexdigest(), name))
    patch.setattr(CelebA, "file_list", official)
    return attributes
