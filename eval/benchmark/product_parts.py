"""Tells from file names which images show the same product part, so that it can be left out.

A part photographed under several lights, and known under one of them, is recognised under another
whatever its defect: an estimate for unseen parts must not have the same part on both sides.
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
"""Largest difference of serial numbers of one part. Of the 202 parts found in this way among
magnetic tile's 1344 images, which show each tile under up to six lights, 164 have six images; half
the difference finds 168 of 224. Too large a value only merges parts, and leaves out more than
necessary."""


def ways_to_leave_out(parts: Int64) -> tuple[LeftOut, ...]:
    """The image only, and also its part if several of the (N,) images show one product part."""
    return ("image", "part") if len(np.unique(parts)) < len(parts) else ("image",)


def left_out_together(parts: Int64, left_out: LeftOut) -> Int64:
    """(N,) equal numbers for images that are left out together."""
    return parts if left_out == "part" else np.arange(len(parts))


def product_parts(paths: Sequence[Path]) -> Int64:
    """(N,) number of the product part that each image shows.

    Images show one part if the counter of one camera numbered them consecutively in several series:
    ``exp1_num_108719``, ``exp2_num_108741``, ``exp3_num_108757``. The series is the text before the
    serial number; series of one counter differ only in digits. Every other image is a part of its
    own: a name that is only a number, or does not end in one, is an item of a list, and so are the
    names of a single series (``img_1``, ``img_2``) or of series that each number their own images,
    recognised by a serial number that occurs twice (``line1_007``, ``line2_007``).
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
