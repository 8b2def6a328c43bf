"""The page of `measure_library`."""

from __future__ import annotations

from eval.speed.library import ALIKE, TOP, LibraryScale
from eval.speed.scaling_report import markdown_table


def library_page(scale: LibraryScale, title: str, command: str, load: str) -> str:
    """The whole page in Markdown.

    Args:
        load: of the machine, in words.
    """
    kept = markdown_table(
        ("kept as", "images/s written", "graph s", "disk MiB", "open s", "start MiB", "peak MiB"),
        [
            (
                cost.variant,
                f"{cost.ingest_per_s:.0f}",
                f"{cost.optimize_s:.1f}",
                f"{cost.disk_mib:.0f}",
                f"{cost.open_s:.2f}",
                f"{cost.started_mib:.0f}",
                f"{cost.peak_mib:.0f}",
            )
            for cost in scale.costs
        ],
    )
    asked = markdown_table(
        ("kept as", "vector", "filter", "search", "queries", "p50 ms", "p95 ms", "recall@10"),
        [
            (
                cost.variant,
                query.vector,
                query.where,
                query.method,
                f"{query.count}",
                f"{query.p50_ms:.2f}",
                f"{query.p95_ms:.2f}",
                f"{query.recall:.4f}",
            )
            for cost in scale.costs
            for query in cost.queries
        ],
    )
    parts = [
        f"# A library of {scale.images:,} images in the embedded store: {title}",
        f"    {command}",
        f"Drawn from the {scale.real_images} images of the real library: each between two of the "
        "same defect type, up to half the way, plus Gaussian noise with half the scatter within "
        f"the types (seeded). {scale.defective:,} of them are defective and have a second vector; "
        f"both have {scale.dim} values.",
        "## To keep",
        kept,
        "Open: from the name of the store to the first answer, in a fresh process that has "
        "imported the program (start). Peak: its resident memory after all approximate queries, "
        "with what it maps of the files.",
        f"## To ask for {TOP}",
        asked,
        "The queries are further draws. Every one also asks for the current revision and leaves "
        "out its own file, as `vecspect similar` does; recall is against the exact answer of the "
        f"same store. {ALIKE.capitalize()}: what `vecspect similar` does when no label or type is "
        "asked for, of those draws that have a score.",
        load,
    ]
    return "\n\n".join(parts) + "\n"
