"""Runs the cells of a notebook without Jupyter, and keeps what each one shows.

python -m tests.notebook     runs the example on the demo's data and writes its outputs
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from indexer.synthetic.dataset import write_dataset

NOTEBOOK = Path(__file__).parents[1] / "examples" / "from_data_to_defects.ipynb"
DATASET = Path("demo_out/data/grid")
"""Data set of the notebook, relative to the folder that it runs in."""


def read_notebook() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(NOTEBOOK.read_text("utf-8"))
    return content


def run_cells(notebook: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The outputs of each code cell, run in order in the current folder."""
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [_run("".join(cell["source"]), names, n) for n, cell in enumerate(cells, 1)]


def _run(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"<cell {number}>", "exec"), names)
        value = (
            eval(compile(ast.Expression(last.value), f"<cell {number}>", "eval"), names)
            if isinstance(last, ast.Expr)
            else None
        )
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        text = printed.getvalue().splitlines(keepends=True)
        outputs.append({"output_type": "stream", "name": "stdout", "text": text})
    if value is not None:
        shown: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
        if hasattr(value, "_repr_png_"):
            shown["image/png"] = base64.b64encode(value._repr_png_()).decode()
        outputs.append(
            {
                "output_type": "execute_result",
                "execution_count": number,
                "data": shown,
                "metadata": {},
            }
        )
    return outputs


def main() -> None:
    """Run the notebook on a fresh data set and store its outputs."""
    notebook = read_notebook()
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_dataset(
            DATASET.parent, DATASET.name, train=80, test_normal=20, test_defective=24, size=256
        )
        outputs = iter(run_cells(notebook))
        os.chdir(here)
    count = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            cell |= {"outputs": [_small(out) for out in next(outputs)], "execution_count": count}
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _small(output: dict[str, Any]) -> dict[str, Any]:
    """An output whose picture has half the size and few colours."""
    if png := output.get("data", {}).get("image/png"):
        picture = Image.open(io.BytesIO(base64.b64decode(png)))
        small = picture.reduce(2).quantize(64, dither=Image.Dither.NONE)
        stream = io.BytesIO()
        small.save(stream, "PNG", optimize=True)
        output["data"]["image/png"] = base64.b64encode(stream.getvalue()).decode()
    return output


if __name__ == "__main__":
    main()
