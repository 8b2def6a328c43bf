"""A batch that is scored in the background and can be stopped, left and taken up again.

Its folder holds ``batch.json`` (which images, which category) and ``results.jsonl`` (one line an
image, as of ``vecspect score --json``, or its path and error). What has a line is done.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from backbones.pipeline import Skipped
from indexer.progress import Progress
from ui.app.session import Key, Session

_CHUNK = 8
"""Images scored before somebody else may use the store: under half a second."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images to be scored against a category; results are stored beside it."""

    folder: Path
    key: Key
    paths: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Time at which it was begun, and its category."""
        return self.folder.name

    def results(self) -> list[dict[str, Any]]:
        """The lines so far, in the order they were scored; a torn last line is left out."""
        try:
            lines = (self.folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            with contextlib.suppress(json.JSONDecodeError):  # the process ended while writing it
                found.append(json.loads(line))
        return found

    def missing(self) -> list[Path]:
        """The images without a result."""
        done = {result["path"] for result in self.results()}
        return [path for path in self.paths if str(path) not in done]


def begin(folder: Path, key: Key, paths: Sequence[Path]) -> Batch:
    """A new batch below ``folder``."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d_%H-%M-%S")
    batch_folder, number = folder / f"{now}_{key.category}", 1
    while batch_folder.exists():
        number += 1
        batch_folder = folder / f"{now}_{key.category}_{number}"
    batch_folder.mkdir(parents=True)
    batch = Batch(batch_folder, key, tuple(dict.fromkeys(paths)))
    described = {**asdict(key), "paths": [str(path) for path in batch.paths]}
    (batch_folder / "batch.json").write_text(json.dumps(described), encoding="utf-8")
    return batch


def read_batches(folder: Path) -> list[Batch]:
    """Every batch below ``folder``, the latest first."""
    found = []
    for file in sorted(folder.glob("*/batch.json"), reverse=True):
        # one that is not ours, or torn, is no batch
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            described = json.loads(file.read_text(encoding="utf-8"))
            key = Key(described["category"], described["backbone"])
            found.append(Batch(file.parent, key, tuple(map(Path, described["paths"]))))
    return found


def work_off(session: Session, batch: Batch, on_progress: Progress) -> str:
    """Score what is missing, a few at a time; a line that says how it went."""
    missing, total = batch.missing(), len(batch.paths)
    waiting, done, failed = iter(missing), total - len(missing), 0
    with (batch.folder / "results.jsonl").open("a", encoding="utf-8") as stream:
        stream.write("\n")  # keeps a line that a killed process left unfinished apart
        while chunk := list(islice(waiting, _CHUNK)):
            on_progress("scoring", done, total)
            lines = _score(session, batch.key, chunk)
            stream.writelines(json.dumps(line) + "\n" for line in lines)
            stream.flush()
            done += len(chunk)
            failed += sum("error" in line for line in lines)
    on_progress("scoring", done, total)
    return f"{total} images" + (f", {failed} not readable" if failed else "")


def _score(session: Session, key: Key, paths: Sequence[Path]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    with session.lock:
        for outcome in session.inspector(key).inspect_files(paths):
            if isinstance(outcome, Skipped):
                lines.append({"path": str(outcome.path), "error": outcome.reason})
            else:
                session.watch(key, outcome)
                lines.append(outcome.to_dict())
    return lines
