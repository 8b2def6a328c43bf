"""One kind of data set layout: how it is told from others and read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from indexer.data.image_records import DatasetError, ImageRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reader of one layout.

    Attributes:
        name: in lower case, of the layout.
        layout: a noun phrase that tells a person how the data set is laid out.
        accepts: whether what lies at a path that exists has this layout, by its names alone.
        read: records in any order; DatasetError for what contradicts the layout.
        without_normal: what is wrong with a data set at a path none of whose images is normal;
            None where its lines or folders may say so.
    """

    name: str
    layout: str
    accepts: Callable[[Path], bool]
    read: Callable[[Path], Iterable[ImageRecord]]
    without_normal: Callable[[Path], DatasetError] | None = None
