"""Processes of their own that open an embedded store, and points to write."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from indexer.store.base import Point, VectorParams

ROOT = Path(__file__).parents[3]
VECTORS = {"patch": VectorParams(4, "euclid", indexed=False)}
PRELUDE = """
import os, sys, uuid
from pathlib import Path
import numpy as np
from indexer.store.edge import EdgeStore
from indexer.store.base import Point, VectorParams
VECTORS = {"patch": VectorParams(4, "euclid", indexed=False)}
folder = Path(sys.argv[1])
"""


@contextmanager
def process(body: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + body, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def points(count: int) -> list[Point]:
    return [
        Point(str(uuid.UUID(int=i)), {"patch": np.full(4, i, np.float32)}, {"row": i})
        for i in range(count)
    ]
