"""Rivals with libraries of their own, asked over a pipe.

Runs in the environment that `make compare-env` makes, and so imports nothing of this project.
Reads one JSON request a line from stdin and answers with one JSON line. Times are taken here, so
that the pipe is not counted; arrays come and go as .npy files.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


class Server:
    """Each public method is a request; its keyword arguments and its answer are JSON values."""

    def faiss_load(self, *, bank: str) -> dict[str, Any]:
        """Take a bank (M, D) float32 into an exact flat index."""
        import faiss

        vectors = np.load(bank)
        self.flat = faiss.IndexFlatL2(vectors.shape[1])
        self.flat.add(vectors)
        return {"version": faiss.__version__}

    def faiss_search(self, *, queries: str, indices: str) -> dict[str, Any]:
        """Nearest bank vector of each of ``queries`` (Q, D), written as (Q,) int64."""
        vectors = np.load(queries)
        began = time.perf_counter()
        _, found = self.flat.search(vectors, 1)
        milliseconds = (time.perf_counter() - began) * 1e3
        np.save(indices, found[:, 0])
        return {"milliseconds": milliseconds}


def serve() -> None:
    """Answer until stdin ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print must not be taken for one
    server = Server()
    for line in sys.stdin:
        request = json.loads(line)
        method: Callable[..., dict[str, Any]] = getattr(server, request.pop("call"))
        answers.write(json.dumps(method(**request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
