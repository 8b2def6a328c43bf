"""Scores the images of a folder to a CSV file. Exit codes: 3 rejected, 1 unreadable, else 0.

python examples/score_folder.py STORE CATEGORY FOLDER results.csv
"""

import csv
import sys

import vecspect


def main(location: str, category: str, folder: str, results: str) -> int:
    rejected = unreadable = 0
    with (
        vecspect.open_store(location) as store,
        open(results, "w", newline="", encoding="utf-8") as file,
    ):
        inspector = vecspect.Inspector(store, category)
        rows = csv.writer(file)
        rows.writerow(["path", "verdict", "score", "p_value", "x", "y", "width", "height"])
        for found in inspector.inspect_files(vecspect.expand_paths([folder])):
            if isinstance(found, vecspect.Skipped):
                print(f"{found.path}: {found.reason}", file=sys.stderr)
                unreadable += 1
                continue
            rejected += found.verdict == "reject"
            box = found.box.as_list()
            rows.writerow([found.path, found.verdict, found.score, found.p_value, *box])
    return 3 if rejected else 1 if unreadable else 0


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    try:
        sys.exit(main(*sys.argv[1:]))
    except vecspect.VecspectError as error:
        sys.exit(str(error))
