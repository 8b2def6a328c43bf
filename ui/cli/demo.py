"""The whole job on procedurally made data: what `vecspect demo` and `make demo` show."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from backbones.registry import load_backbone
from eval.benchmark.evaluate import evaluate
from eval.benchmark.report import write_report
from eval.benchmark.run import benchmark_result, named_stages
from eval.benchmark.summary import percent_text
from indexer.data.dataset import read_dataset
from indexer.data.image_records import ImageRecord
from indexer.learn.build import build_index
from indexer.progress import Progress
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from indexer.synthetic.dataset import write_dataset
from indexer.synthetic.textures import CATEGORIES
from search.inspector import Inspector
from ui.cli.console import Columns, columns_table, say

TRAIN, TEST_NORMAL, TEST_DEFECTIVE, SEED = 80, 20, 24, 0


def run_demo(out: Path, on_progress: Progress) -> None:
    """Make data, learn, score, look up, report; everything under ``out`` is replaced."""
    began = time.perf_counter()
    data, store_folder = out / "data", out / "store"
    for folder in (data, store_folder, out / "pictures"):
        shutil.rmtree(folder, ignore_errors=True)
    network = load_backbone("compact")
    reports, looked_up = [], []
    with open_store(str(store_folder)) as store:
        for category in CATEGORIES:
            stages = named_stages(on_progress, category)
            stages("making images", 0, 1)
            dataset = write_dataset(
                data,
                category,
                train=TRAIN,
                test_normal=TEST_NORMAL,
                test_defective=TEST_DEFECTIVE,
                seed=SEED,
            )
            stages("making images", 1, 1)
            records = read_dataset(dataset)
            build = build_index(
                records,
                category=category,
                backbone=network,
                store=store,
                on_progress=stages,
            )
            evaluation = evaluate(store, build, network, records, dataset=str(dataset), out=out)
            reports.append(evaluation.report)
            looked_up.append(_most_similar_defect(store, category, records))
    paths = write_report(benchmark_result(reports), out)

    say(columns_table(_COLUMNS, reports))
    say("\nsimilar defects, as found in the store:")
    for line in looked_up:
        say(f"  {line}")
    say(f"\nreport:    {paths.html}")
    for report in reports:
        shown = next(ref for ref in report.heatmaps if ref.kind == "best defect")
        say(f"heat map:  {out / shown.picture}")
    say(f"\nThe whole job took {time.perf_counter() - began:.0f} s. Go on with the same store:")
    first = CATEGORIES[0]
    say(f"  vecspect score {data / first / 'test'} --category {first} --store {store_folder}")


_COLUMNS: Columns = {
    "category": "{.category}",
    "image AUROC": "{.image_auroc:.4f}",
    "pixel AUROC": "{.pixel_auroc:.4f}",
    "nominal false rejects": lambda report: percent_text(report.alpha_reject),
    "realised false rejects": "{0.false_reject.successes}/{0.false_reject.n}",
    "recall": "{0.recall.successes}/{0.recall.n}",
    "ms per image": "{.median_ms:.0f}",
}


def _most_similar_defect(store: VectorStore, category: str, records: list[ImageRecord]) -> str:
    query = next(record for record in records if record.label == "defective")
    (found,) = Inspector(store, category).similar(query.path, label="defective", top=1)
    return (
        f"{category}: {query.defect_type}/{query.path.name} is most like "
        f"{found.defect_type}/{Path(found.path).name} (distance {found.distance:.4f})"
    )
