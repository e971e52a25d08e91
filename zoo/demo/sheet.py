"""The demo's pictures: single images as PNG, and one sheet for each corruption."""

import functools
import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from zoo.demo.scenes import ITERATIONS, Scene

__all__ = ["draw_sheet", "to_png"]

SCALE = 3
GAP = 10
MARGIN = 24
TEXT_WIDTH = 112
HEADER = 92
FOOTER = 46

INK, SOFT = "#1f2328", "#656d76"
RIGHT, WRONG = "#1a7f37", "#cf222e"


def to_png(image: Tensor) -> bytes:
    """One image (C, H, W) in [0, 1] as a PNG of the same size."""
    buffer = io.BytesIO()
    _to_pillow(image).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def draw_sheet(scene: Scene, classes: Sequence[str]) -> Image.Image:
    """Rows are images; columns are clean, corrupted, each reconstruction and both predictions."""
    columns = [scene.clean, scene.corrupted, *scene.reconstructions]
    height, width = (SCALE * size for size in scene.clean.shape[2:])
    lefts = [MARGIN + TEXT_WIDTH + index * (width + GAP) for index in range(len(columns))]
    texts = [lefts[-1] + width + 2 * GAP + index * TEXT_WIDTH for index in range(2)]
    bottom = HEADER + len(scene.labels) * (height + GAP)
    sheet = Image.new("RGB", (texts[-1] + TEXT_WIDTH + MARGIN, bottom + FOOTER), "white")
    draw = ImageDraw.Draw(sheet)

    _write(draw, (MARGIN, 20), f"{scene.kind}, severity {scene.severity}", INK, 22)
    _write(draw, (MARGIN, 48), scene.strength, SOFT, 13)
    titles = ["clean", "corrupted", *(f"feedback {k}" for k in ITERATIONS), "plain CNN", "CNN-F"]
    for left, title in zip([*lefts, *texts], titles, strict=True):
        _write(draw, (left, HEADER - 20), title, INK, 13)

    for row, label in enumerate(scene.labels.tolist()):
        top = HEADER + row * (height + GAP)
        middle = top + height // 2
        _write(draw, (MARGIN, middle - 8), classes[label], INK, 14)
        for left, images in zip(lefts, columns, strict=True):
            tile = _to_pillow(images[row]).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(tile, (left, top))
        for left, predictions in zip(texts, (scene.cnn, scene.cnnf), strict=True):
            prediction = int(predictions[row])
            colour, word = (RIGHT, "right") if prediction == label else (WRONG, "wrong")
            _write(draw, (left, middle - 16), classes[prediction], colour, 14)
            _write(draw, (left, middle + 2), word, colour, 12)

    _write(draw, (MARGIN, bottom + 6), "mean squared", SOFT, 12)
    _write(draw, (MARGIN, bottom + 20), "error to clean", SOFT, 12)
    for left, error in zip(lefts[1:], scene.errors, strict=True):
        _write(draw, (left, bottom + 12), f"{error:.4f}", INK, 13)
    return sheet


def _to_pillow(image: Tensor) -> Image.Image:
    grey_levels = (image * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(grey_levels.squeeze(2) if grey_levels.shape[2] == 1 else grey_levels)


def _write(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, colour: str, size: int
) -> None:
    draw.text(at, text, fill=colour, font=_font(size))


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
