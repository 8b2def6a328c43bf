"""Commands run as a person runs them, in this process or one of their own."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import typer.main
from PIL import Image

from indexer.data.dataset import read_dataset
from ui.cli import table
from ui.cli.root import app
from ui.cli.table import ListedGroup, Table

ROOT = Path(__file__).parents[3]
MAIN = "from ui.cli.entry import main; main()"


class Ended(NamedTuple):
    """How a command ended: exit code and the lines it printed."""

    code: int
    out: list[str]
    err: list[str]

    @property
    def json_lines(self) -> list[dict[str, Any]]:
        return [strict_json(line) for line in self.out]


Vecspect = Callable[..., Ended]
OwnVecspect = Callable[..., tuple[int, str, str]]


def _names(panels: Table, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for panel in panels.values():
        for name, listed in panel.items():
            if isinstance(listed, ListedGroup):
                yield from _names(listed.panels, (*before, name))
            else:
                yield (*before, name)


COMMANDS = tuple(_names(table.COMMANDS))
"""Every command there is, a command of a group by two names."""


def found_command(*names: str) -> Any:
    """The command of these names, as Typer makes it."""
    command: Any = typer.main.get_command(app)
    for name in names:
        with typer.Context(command) as context:
            command = command.get_command(context, name)
    return command


def strict_json(text: str) -> Any:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is not JSON")

    return json.loads(text, parse_constant=refuse)


def environment(**variables: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("VECSPECT_", "QDRANT_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", **variables}


def process(*arguments: object, cwd: Path, program: str = MAIN, **variables: str) -> Ended:
    """The command in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout.splitlines(), ended.stderr.splitlines())


@dataclass(frozen=True)
class Shop:
    """A folder in which `vecspect index` was run, and how that ended; read only."""

    folder: Path
    indexed: Ended

    @property
    def store(self) -> str:
        return str(self.folder / "qdrant_data")


def only_line(ended: Ended) -> str:
    """The one line with which a command explains its failure."""
    assert ended.code == 1
    assert ended.out == []
    (line,) = ended.err
    assert line.startswith("vecspect: ")
    return line


def queries_below(dataset: Path) -> list[str]:
    return [str(record.path) for record in read_dataset(dataset) if record.split == "test"]


def write_noise(path: Path) -> Path:
    """Nothing like any product: must be rejected by whatever network."""
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG file that announces pixels it does not have."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def status_of(vecspect: OwnVecspect) -> dict[str, Any]:
    """What ``status`` tells of the only category."""
    (category,) = strict_json(vecspect("status", "--json")[1])["categories"]
    return dict(category)
