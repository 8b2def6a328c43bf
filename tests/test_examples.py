"""The examples run as they stand, and show what they say."""

from __future__ import annotations

import csv
import json
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backbones.decode import load_image
from indexer.data.dataset import read_dataset
from tests import notebook
from tests.ui.cli.running import write_noise

EXAMPLES = notebook.NOTEBOOK.parent
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
Run = Callable[..., int]


@pytest.fixture
def run_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs an example in an empty folder and returns its exit code."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        try:
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        return 0

    return run


def modules_imported(source: str) -> set[str]:
    return set(re.findall(r"^ *(?:import|from) (\w+)", source, re.MULTILINE))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_is_short_and_needs_one_import(script: Path) -> None:
    text = script.read_text("utf-8")
    assert text.count("\n") <= 40
    ours = modules_imported(text) - sys.stdlib_module_names
    assert ours == {"vecspect"}


def test_similar_names_the_defects_most_like_an_image_that_is_not_ok(
    run_example: Run, learnt_folder: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = next(record for record in read_dataset(dataset) if record.label == "defective")
    assert run_example("similar.py", learnt_folder, "grid", query.path) == 0
    said, *similar = capsys.readouterr().out.splitlines()
    assert re.match("<Prediction (review|reject): ", said)
    distances = [float(line.split()[0]) for line in similar]
    assert len(distances) == 5
    assert distances == sorted(distances)
    assert str(query.path) not in "".join(similar)
    assert load_image("explanation.png").height > 360


def test_folder_is_scored_to_a_table_and_an_exit_code(
    run_example: Run, learnt_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    parts = Path(shutil.copytree(dataset / "train/good", tmp_path / "parts"))
    arguments = ("score_folder.py", learnt_folder, "grid", parts, "out.csv")
    assert run_example(*arguments) == 0
    (parts / "cut.png").write_bytes(b"\x89PNG")
    assert run_example(*arguments) == 1
    noise = write_noise(parts / "noise.png")
    assert run_example(*arguments) == 3
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        verdicts = {row["path"]: row["verdict"] for row in csv.DictReader(file)}
    assert verdicts.pop(str(noise)) == "reject"
    assert set(verdicts) == {str(path) for path in parts.iterdir() if path.stem.isdecimal()}
    assert run_example("score_folder.py", learnt_folder, "no-such", parts, "out.csv") == 1


def test_benchmark_prints_a_line_beside_the_baseline_and_writes_the_report(
    run_example: Run, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_example("benchmark.py", dataset) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert re.match(
        r"grid: image AUROC [01]\.\d{4} \(.*brute force.* [01]\.\d{4}\); \d+ of 6", line
    )
    assert (tmp_path / "benchmark_out/report.html").is_file()


def test_notebook_goes_from_a_data_set_to_similar_defects_with_pictures(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(dataset, notebook.DATASET)
    content = notebook.read_notebook()
    stored = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    outputs = notebook.run_cells(content)
    assert [kinds(cell["outputs"]) for cell in stored] == [kinds(shown) for shown in outputs]
    assert sum("image/png" in found for shown in outputs for found in kinds(shown)) == 3
    assert modules_imported("".join("".join(cell["source"]) for cell in stored)) <= {
        "collections",
        "vecspect",
    }
    assert len(json.dumps(content)) < 300_000


def kinds(outputs: list[dict[str, Any]]) -> list[str]:
    """The kinds of output that a cell shows."""
    return [kind for output in outputs for kind in output.get("data", {"text": ""})]
