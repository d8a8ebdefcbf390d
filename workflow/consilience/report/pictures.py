"""Figures, which are drawn for print, in the size and format of a screen."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from consilience.errors import ConsilienceError

# Figures are drawn at 300 dots an inch; at 110 their smallest letters, of 7 points, are 11 pixels high.
DRAWN, SHOWN = 300, 110
# The longest side that WebP can have.
LONGEST = 16_383
COLORS = 255
# Bytes from which on a picture is tried with loss too: below, it is a drawing, which loss makes no smaller.
LARGE = 60_000
QUALITY = 70


@dataclass(frozen=True)
class Picture:
    """A picture of the report: its name below files/{study}/, and its size in pixels."""

    name: str
    width: int
    height: int


def web_picture(source: str | Path, folder: Path, name: str) -> Picture:
    """Write a PNG as WebP at 110 dots an inch, under this name in `folder`; of 300 dots where it does not say.

    What is longer than WebP can be is shown smaller. Few colors without loss, which suits drawings; with loss where
    that is smaller, which suits maps and photographs. The same bytes for the same figure. Raises ConsilienceError for a
    file that is no picture, or too large a one.
    """
    try:
        with Image.open(source) as image:
            factor = min(SHOWN / _dots(image), LONGEST / max(image.size), 1)
            width, height = (max(1, round(side * factor)) for side in image.size)
            small = _on_white(image).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2)
    except OSError as error:
        raise ConsilienceError(f"{source}: not a picture ({error})") from error
    except Image.DecompressionBombError as error:
        raise ConsilienceError(f"{source}: a picture too large to be shown ({error})") from error
    few = small.quantize(COLORS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).convert("RGB")
    written = _encoded(few, lossless=True, method=3, quality=50)
    if len(written) > LARGE:
        written = min(written, _encoded(small, quality=QUALITY, method=4, use_sharp_yuv=True), key=len)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(written)
    return Picture(name, width, height)


def _dots(image: Image.Image) -> int:
    """Return the dots an inch that a picture says it has; files round them to dots a meter."""
    said = image.info.get("dpi", (DRAWN, DRAWN))[0]
    return round(said) if math.isfinite(said) and said >= 1 else DRAWN


def _on_white(image: Image.Image) -> Image.Image:
    """Return the picture in RGB, what is see-through on white."""
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return image.convert("RGB")


def _encoded(image: Image.Image, **options: bool | int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **options)
    return buffer.getvalue()
