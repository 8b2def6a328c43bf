"""Which images show the same product part, told from file names, so that it can be left out.

A part photographed in several lights, and known in one of them, is recognised in another whatever
its defect: what is to be said of parts never seen must not have them on both sides.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from eval.arrays import Int64

LeftOut = Literal["image", "part"]

NEAR = 200
"""Serial numbers this near to each other are of one part. Of the 202 parts so found among magnetic
tile's 1344 images, which show each tile in up to six lights, 164 have six; half as near finds 168
such of 224. Too wide only joins parts, and leaves out more than it need."""


def ways_to_leave_out(parts: Int64) -> tuple[LeftOut, ...]:
    """The image alone, and where several of (N,) show one product part, also the part."""
    return ("image", "part") if len(np.unique(parts)) < len(parts) else ("image",)


def left_out_together(parts: Int64, left_out: LeftOut) -> Int64:
    """(N,) the same number for images that are left out together."""
    return parts if left_out == "part" else np.arange(len(parts))


def product_parts(paths: Sequence[Path]) -> Int64:
    """(N,) number of the product part that each image shows.

    Images are of one part if one camera's counter numbered them, in several series, one after the
    other: ``exp1_num_108719``, ``exp2_num_108741``, ``exp3_num_108757``. The series is the text
    before the serial number; series of one counter differ in digits alone. Every other image is
    a part of its own: a name that is a number alone or ends in none is one of a list, and so are
    names of a single series (``img_1``, ``img_2``) or of series that number their images each for
    itself, which shows in a serial number that comes twice (``line1_007``, ``line2_007``).
    """
    parts = np.arange(len(paths))
    counters: dict[str, list[tuple[int, str, int]]] = {}
    for place, path in enumerate(paths):
        if found := re.fullmatch(r"(.*\D)(\d+)", path.stem):
            series, serial = found.groups()
            counter = re.sub(r"\d+", "", series)
            counters.setdefault(counter, []).append((int(serial), series, place))
    for images in counters.values():
        images.sort()
        serials = [serial for serial, _, _ in images]
        if len(set(serials)) < len(serials):
            continue
        breaks = np.flatnonzero(np.diff(serials) > NEAR) + 1
        for begin, end in itertools.pairwise([0, *breaks.tolist(), len(images)]):
            run = images[begin:end]
            if len({series for _, series, _ in run}) > 1:
                parts[[place for _, _, place in run]] = run[0][2]
    return parts
