"""Look a photograph up in a catalogue, then write a watermarked copy of it.

This is what a user of `resumed` writes. Each step is recorded when it is done and is not
repeated, whatever kills the daemon between the two.
"""

import json
import os
import signal
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from PIL import Image, ImageDraw, ImageFont

from resumed import Item, TransientError


def process(item: Item) -> dict:
    """Run both steps; the sum of what they found is the item's result."""
    if item.name == "poison.jpg":
        os.kill(os.getpid(), signal.SIGKILL)  # a handler can do this: a bug in C is enough
    found = item.step("search", search, item.path)
    marked = item.output(f"{Path(item.name).stem}.marked.jpg")
    size = item.step("watermark", watermark, item.path, marked)
    return {"titles": [each["title"] for each in found], **size}


def search(photo: Path) -> list[dict]:
    """Ask the catalogue for photographs that look like this one."""
    try:
        address = f"{os.environ['CATALOGUE']}/like/{difference_hash(photo)}"
        with urlopen(address) as answer:  # noqa: S310 - it is the demo's own address
            return json.load(answer)
    except HTTPError as error:
        if error.code == 503:
            raise TransientError("the catalogue is busy") from error
        raise


def difference_hash(photo: Path) -> str:
    """Describe a photograph in 64 bits that survive another size and compression."""
    with Image.open(photo) as image:
        small = image.convert("L").resize((9, 8), Image.Resampling.LANCZOS)
    grey = small.tobytes()
    brighter = [grey[y * 9 + x] > grey[y * 9 + x + 1] for y in range(8) for x in range(8)]
    return f"{sum(bit << place for place, bit in enumerate(brighter)):016x}"


def watermark(photo: Path, target: Path) -> dict:
    """Write a copy with a mark across its lower edge."""
    with Image.open(photo) as image:
        picture = image.convert("RGB")
    mark = Image.new("L", (64, 12))
    ImageDraw.Draw(mark).text((1, 0), "resumed", fill=170, font=ImageFont.load_default())
    box = mark.getbbox()
    wide = picture.width // 2
    mark = mark.crop(box).resize((wide, wide * (box[3] - box[1]) // (box[2] - box[0])))
    white = Image.new("RGB", mark.size, "white")
    picture.paste(white, (picture.width - wide - 8, picture.height - mark.height - 8), mark)
    picture.save(target, "JPEG", quality=85)
    return {"width": picture.width, "height": picture.height}
