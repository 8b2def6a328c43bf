"""The page of `measure_scaling`: tables, fitted exponents, and what follows for large plants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from eval.speed.scaling import EngineCost, Scaling

CATEGORIES, IMAGES = 1_000, 1_000
"""The plant of a million images."""
SHARE = 0.1
CLUSTER = 1_000_000_000
"""Patches on a cluster."""
NODE_GIB = 64
REPLICAS = 2
USABLE = 0.75
"""Share of a node's memory that vectors and graph may take."""
HNSW_M = 16
"""Qdrant's default: each point keeps up to 2 m links in the lowest layer, of 4 bytes each."""
PRECISIONS = {"f32": 32, "f16": 16, "int8": 8, "binary": 1}
"""Bits a value."""


def fitted(sizes: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """(exponent, factor) of costs = factor * sizes ** exponent, least squares in logarithms."""
    exponent, intercept = np.polyfit(np.log(sizes), np.log(costs), 1)
    return float(exponent), float(np.exp(intercept))


def crossing(scaling: Scaling) -> float:
    """Bank patches from which the engine answers sooner than the resident matrix, by the fits.

    nan where the fitted lines do not cross upwards.
    """
    resident = _search_fit(scaling)
    engine = fitted([e.patches for e in scaling.engine], [_total(e) for e in scaling.engine])
    slope = resident[0] - engine[0]
    return float((engine[1] / resident[1]) ** (1 / slope)) if slope > 0 else float("nan")


def scaling_page(scaling: Scaling, title: str, command: str) -> str:
    """The whole page in Markdown."""
    parts = [f"# How cost grows: {title}", f"    {command}", *_bank_part(scaling)]
    parts += [*_engine_part(scaling), *_learning_part(scaling), *_photo_part(scaling)]
    parts += ["## A million images in a thousand categories", _plant(scaling)]
    parts += ["## A billion patches on a Qdrant cluster", _cluster(scaling)]
    return "\n\n".join(parts) + "\n"


def _bank_part(scaling: Scaling) -> Iterator[str]:
    exponent, _ = _search_fit(scaling)
    per_patch = scaling.banks[-1].resident_bytes / scaling.banks[-1].patches
    yield "## The memory bank"
    yield markdown_table(
        ("patches", "prepare ms", "search one image ms", "resident MiB"),
        [
            (f"{b.patches}", f"{b.index_ms:.0f}", f"{b.search_ms:.1f}", _mib(b.resident_bytes))
            for b in scaling.banks
        ],
    )
    yield (
        f"Random normal patches of {scaling.dim} values, {scaling.cells} query patches an image. "
        f"Search grows with the power {exponent:.2f} of the bank (fitted); a patch takes "
        f"{per_patch:.0f} bytes (measured). The network takes {scaling.network_ms:.1f} ms, "
        "whatever the bank."
    )


def _engine_part(scaling: Scaling) -> Iterator[str]:
    yield "## The same bank in the engine"
    yield markdown_table(
        (
            "patches",
            "write s",
            "graph s",
            "disk MiB",
            "HNSW, one image ms",
            "recall",
            "largest inflation",
            "exact re-check ms",
            "patches re-checked",
            "scores wrong",
        ),
        [
            (
                f"{e.patches}",
                f"{e.ingest_s:.1f}",
                f"{e.graph_s:.1f}",
                _mib(e.folder_bytes),
                f"{e.search_ms:.0f}",
                f"{e.recall:.4f}",
                f"{e.inflation:.2f}",
                f"{e.recheck_ms:.1f}",
                f"{e.rechecked:.0f}",
                f"{e.wrong}",
            )
            for e in scaling.engine
        ],
    )
    exponent, _ = fitted([e.patches for e in scaling.engine], [_total(e) for e in scaling.engine])
    cross = crossing(scaling)
    per_patch = scaling.banks[-1].resident_bytes / scaling.banks[-1].patches
    where = (
        f"at {cross:.2g} patches by the fitted lines (derived), where the matrix holds "
        f"{cross * per_patch / 2**30:.0f} GiB"
        if np.isfinite(cross)
        else "nowhere by the fitted lines"
    )
    yield (
        f"One query a patch, and the highest again exactly: the graph only overestimates, so when "
        f"the largest exact distance reaches the next approximate one, it is the image score. "
        f"Both grow with the power {exponent:.2f} (fitted). The engine is the faster one {where}. "
        f"Memory decides earlier: with 8 GiB for one category the matrix ends at "
        f"{8 * 2**30 / per_patch:.2g} patches (derived). Scoring by the engine is measured here "
        "and not built into the product, which reads every bank into memory."
    )


def _learning_part(scaling: Scaling) -> Iterator[str]:
    images = [learned.images for learned in scaling.learned]
    seconds = [sum(learned.seconds.values()) for learned in scaling.learned]
    picking = [learned.seconds["coreset"] for learned in scaling.learned]
    yield "## Training images"
    yield markdown_table(
        ("images", "bank patches", "learn s", "of it coreset s", "peak MiB"),
        [
            (f"{r.images}", f"{r.bank_patches}", f"{s:.1f}", f"{c:.1f}", f"{r.peak_mib:.0f}")
            for r, s, c in zip(scaling.learned, seconds, picking, strict=True)
        ],
    )
    yield (
        f"Learning grows with the power {fitted(images, seconds)[0]:.2f} of the images, the "
        f"coreset's selection with {fitted(images, picking)[0]:.2f} (fitted)."
    )


def _photo_part(scaling: Scaling) -> Iterator[str]:
    pixels = [photo.side**2 for photo in scaling.photos]
    yield "## Image size"
    yield markdown_table(
        ("pixels", "file to input ms", "map ms"),
        [(f"{p.side} x {p.side}", f"{p.input_ms:.1f}", f"{p.map_ms:.1f}") for p in scaling.photos],
    )
    reading, _ = fitted(pixels, [photo.input_ms for photo in scaling.photos])
    mapping, _ = fitted(pixels, [photo.map_ms for photo in scaling.photos])
    yield (
        f"Reading a PNG grows with the power {reading:.2f} of its pixels, the map with "
        f"{mapping:.2f} (fitted); network and search do not depend on them."
    )


def _plant(scaling: Scaling) -> str:
    bank = IMAGES * scaling.cells * SHARE
    exponent, factor = _search_fit(scaling)
    per_patch = scaling.banks[-1].resident_bytes / scaling.banks[-1].patches
    engine = scaling.engine[-1]
    on_disk = engine.folder_bytes / engine.patches
    learn = fitted(
        [learned.images for learned in scaling.learned],
        [sum(learned.seconds.values()) for learned in scaling.learned],
    )
    seconds = learn[1] * IMAGES ** learn[0]
    return markdown_table(
        ("what", "value", "from"),
        [
            ("patches of a category's bank at 10 %", f"{bank:.3g}", "derived"),
            ("search of one image", f"{factor * bank**exponent:.0f} ms", "derived from the fit"),
            ("memory, one category in use", f"{bank * per_patch / 2**20:.0f} MiB", "derived"),
            (
                "all categories in use",
                f"{CATEGORIES * bank * per_patch / 2**30:.0f} GiB",
                "derived",
            ),
            (
                "all categories on disk, with graph",
                f"{CATEGORIES * bank * on_disk / 2**30:.0f} GiB",
                f"derived from {on_disk:.0f} bytes a point, measured",
            ),
            ("learning one category", f"{seconds:.0f} s", "derived from the fit"),
            (
                "learning all, one machine",
                f"{CATEGORIES * seconds / 3600:.0f} h",
                "derived from the fit",
            ),
        ],
    )


def _cluster(scaling: Scaling) -> str:
    engine = scaling.engine[-1]
    links = 2 * HNSW_M * 4
    rate = 1e3 * scaling.cells / engine.search_ms
    rows = []
    for name, bits in PRECISIONS.items():
        size = scaling.dim * bits / 8 + links
        nodes = int(np.ceil(CLUSTER * size * REPLICAS / (NODE_GIB * 2**30 * USABLE)))
        rows.append((name, f"{size:.0f}", f"{CLUSTER * size / 2**30:.0f}", f"{nodes}"))
    table = markdown_table(
        (
            "precision in memory",
            "bytes a point",
            "GiB, one copy",
            f"nodes of {NODE_GIB} GiB, {REPLICAS} copies",
        ),
        rows,
    )
    return (
        f"{table}\n\nAll derived: {scaling.dim} values a point and {2 * HNSW_M} links of 4 bytes, "
        f"{USABLE:.0%} of a node's memory used, one shard a node; full vectors and payload on "
        f"disk. A node of two cores answers {rate:.0f} patch queries a second in a shard of "
        f"{engine.patches} points (measured); every shard is asked for every query, so more nodes "
        "hold more points and do not answer faster, more copies do. Partitioned by category "
        "(tenant key) a query asks one shard."
    )


def _search_fit(scaling: Scaling) -> tuple[float, float]:
    """Over the banks whose search is more than the fixed part of a call."""
    banks = scaling.banks[-3:]
    return fitted([b.patches for b in banks], [b.search_ms for b in banks])


def _total(engine: EngineCost) -> float:
    return engine.search_ms + engine.recheck_ms


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
