"""Measures labelled data sets against brute force over every normal patch.

python examples/benchmark.py DATASET... (the report is written to benchmark_out)
"""

import sys

import vecspect


def main(datasets: list[str]) -> None:
    result = vecspect.benchmark(datasets, baselines=["brute-force"], out="benchmark_out")
    for report in result.reports:
        baselines = [f"{title} {figure:.4f}" for title, figure in (report.baseline or {}).items()]
        print(
            f"{report.category}: image AUROC {report.image_auroc:.4f} ({', '.join(baselines)}); "
            f"{report.recall.successes} of {report.recall.n} defects rejected, "
            f"{report.false_reject.successes} of {report.false_reject.n} normal images; "
            f"{report.median_ms:.0f} ms per image"
        )


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1:])
    except vecspect.VecspectError as error:
        sys.exit(str(error))
