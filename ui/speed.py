"""What `vecspect speed` runs, prints and writes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from backbones.base import Precision
from backbones.errors import VecspectError
from backbones.registry import load_backbone
from eval.timings import Timing, markdown, plot, summarise, write_csv
from ui.console import progress_bars, say

PARTS = ("images", "knn", "coreset")
RIVALS = ("anomalib", "faiss")
BANKS = (2_000, 20_000, 100_000)
KNN_DIM = 1024


def run_speed(
    only: str,
    dataset: Path,
    backbone: str,
    weights: Path,
    *,
    images: int,
    against: Sequence[str],
    out: Path,
    coreset: float,
    precision: Precision | None,
) -> None:
    """Measure the part asked for; VecspectError names what is not known."""
    for word, known in ((only, PARTS), *((name, RIVALS) for name in against)):
        if word not in known:
            raise VecspectError(f"expected one of {', '.join(known)}, got '{word}'.")
    network = load_backbone(backbone, weights=weights, precision=precision)
    if only == "knn":
        from eval.speed_knn import measure_knn

        dim = min(KNN_DIM, network.spec.patch_dim)
        with progress_bars() as on_progress:
            timings, excess = measure_knn(
                dataset,
                network,
                sizes=BANKS,
                dim=dim,
                images=images,
                against_faiss="faiss" in against,
                on_progress=on_progress,
            )
        found = (
            f"Distances, computed in float64 for the neighbours found, exceed those of the "
            f"nearest that any method found by at most {excess:.1e} of them."
        )
        _write(f"speed-knn-{backbone}", timings, [found], out)


def _write(name: str, timings: Sequence[Timing], notes: Sequence[str], out: Path) -> None:
    """Print the table; write it with the command, the raw rows and a plot."""
    out.mkdir(parents=True, exist_ok=True)
    summaries = list(summarise(timings))
    table = markdown(summaries)
    text = "\n\n".join([f"    {_command()}", table.rstrip(), *notes]) + "\n"
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    write_csv(timings, out / f"{name}.csv")
    plot(summaries, out / f"{name}.png")
    say(table)
    for note in notes:
        say(note)
    say(f"\ntables: {out / name}.md, .csv, .png")


def _command() -> str:
    return shlex.join(["vecspect", *sys.argv[1:]])
