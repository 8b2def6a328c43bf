"""The near end of `compare_server`: starts it in its environment and asks it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.errors import VecspectError
from eval.baselines.external import worker

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-compare" / "bin" / "python"


class Rival:
    """A running server; a context manager that ends it."""

    def __init__(self) -> None:
        if not PYTHON.exists():
            raise VecspectError(
                "the rivals' environment is missing. Make it: make compare-env (in the repository)"
            )
        self._files = tempfile.TemporaryDirectory(prefix="vecspect-")
        self.folder = Path(self._files.name)
        with (self.folder / "log.txt").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and script
                [PYTHON, worker.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.folder,
            )

    def __enter__(self) -> Rival:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._files.cleanup()

    def ask(self, call: str, **arguments: Any) -> dict[str, Any]:
        """The answer; VecspectError with the end of the server's log if it gave none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"call": call, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            log = (self.folder / "log.txt").read_text(errors="replace").strip().splitlines()
            raise VecspectError(f"the rival failed on {call}: {' / '.join(log[-3:])}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def write(self, name: str, array: NDArray[Any]) -> str:
        """Path of a .npy file with ``array``."""
        file = self.folder / f"{name}.npy"
        np.save(file, array)
        return str(file)
