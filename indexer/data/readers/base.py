"""A data set layout: how it is recognised and read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from indexer.data.image_records import DatasetError, ImageRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reader of one layout.

    Attributes:
        name: name of the layout, in lower case.
        layout: noun phrase that describes the layout to a person.
        accepts: true if an existing path has this layout, judged only by file names.
        read: returns records in any order; DatasetError if the content contradicts the layout.
        without_normal: returns what is wrong with a data set that has no normal image; None if its
            lines or folders may declare that.
    """

    name: str
    layout: str
    accepts: Callable[[Path], bool]
    read: Callable[[Path], Iterable[ImageRecord]]
    without_normal: Callable[[Path], DatasetError] | None = None
