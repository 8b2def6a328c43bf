"""The page of `measure_scaling`: tables, fitted exponents, and estimates for large plants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.pages import page
from eval.speed.scaling import Scaling

CATEGORIES, IMAGES = 1_000, 1_000
"""Images of the example plant."""
SHARE = 0.1
CLUSTER = 1_000_000_000
"""Patches of the example cluster."""
NODE_GIB = 64
REPLICAS = 2
USABLE = 0.75
"""Share of a node's memory that vectors and graph may take."""
LINKS = 2 * 16
"""Links of 4 bytes that each point has in the lowest layer: 2 m, with Qdrant's default m."""
PRECISIONS = {"f32": 32, "f16": 16, "int8": 8, "binary": 1}
"""Bits per value."""


def fitted(sizes: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """(exponent, factor) of costs = factor * sizes ** exponent, by least squares in logarithms."""
    exponent, intercept = np.polyfit(np.log(sizes), np.log(costs), 1)
    return float(exponent), float(np.exp(intercept))


def crossing(scaling: Scaling) -> float:
    """Number of bank patches from which the engine is faster than the resident matrix, by the fits.

    The result is nan if the fitted lines do not cross upwards.
    """
    (resident, resident_factor), (engine, engine_factor) = (
        _search_fit(scaling),
        _engine_fit(scaling),
    )
    slope = resident - engine
    return (engine_factor / resident_factor) ** (1 / slope) if slope > 0 else float("nan")


def scaling_page(scaling: Scaling, title: str, command: str) -> str:
    """The whole page in Markdown."""
    images = [learned.images for learned in scaling.learned]
    pixels = [photo.side**2 for photo in scaling.photos]
    return page(
        "scaling.md",
        scaling=scaling,
        title=title,
        command=command,
        patch_bytes=scaling.banks[-1].resident_bytes / scaling.banks[-1].patches,
        search=_search_fit(scaling),
        engine=_engine_fit(scaling),
        crossing=crossing(scaling),
        learning=_learning_fit(scaling),
        picking=fitted(images, [learned.seconds["coreset"] for learned in scaling.learned]),
        reading=fitted(pixels, [photo.input_ms for photo in scaling.photos]),
        mapping=fitted(pixels, [photo.map_ms for photo in scaling.photos]),
        plant=_plant(scaling),
        precisions=[_stored(name, scaling.dim * bits / 8) for name, bits in PRECISIONS.items()],
        node_gib=NODE_GIB,
        replicas=REPLICAS,
        links=LINKS,
        usable=USABLE,
    )


def _plant(scaling: Scaling) -> dict[str, float]:
    bank = IMAGES * scaling.cells * SHARE
    exponent, factor = _search_fit(scaling)
    growth, each = _learning_fit(scaling)
    return {
        "categories": CATEGORIES,
        "bank": bank,
        "search_ms": factor * bank**exponent,
        "point_bytes": scaling.engine[-1].folder_bytes / scaling.engine[-1].patches,
        "learning_s": each * IMAGES**growth,
    }


def _stored(precision: str, vector_bytes: float) -> tuple[str, float, float, int]:
    """Bytes per point, GiB of the cluster's patches, and nodes that hold them."""
    size = vector_bytes + LINKS * 4
    nodes = int(np.ceil(CLUSTER * size * REPLICAS / (NODE_GIB * 2**30 * USABLE)))
    return precision, size, CLUSTER * size / 2**30, nodes


def _search_fit(scaling: Scaling) -> tuple[float, float]:
    """The fit over those banks whose search time exceeds the fixed part of a call."""
    banks = scaling.banks[-3:]
    return fitted([b.patches for b in banks], [b.search_ms for b in banks])


def _engine_fit(scaling: Scaling) -> tuple[float, float]:
    engine = scaling.engine
    return fitted([e.patches for e in engine], [e.search_ms + e.recheck_ms for e in engine])


def _learning_fit(scaling: Scaling) -> tuple[float, float]:
    learned = scaling.learned
    return fitted([size.images for size in learned], [size.total_s for size in learned])
