"""Baselines in other libraries: plain torch in this process, anomalib and faiss over a pipe.

They are timed alongside vecspect on the same memory bank (`eval.speed`), one image or one bank at a
time, and therefore have requests of their own instead of `eval.baselines.table.Baseline`.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms import functional as transforms

from backbones.base import BackboneSpec
from backbones.decode import load_image
from backbones.errors import VecspectError
from backbones.geometry import to_input
from backbones.networks.build import Graph, build_network
from backbones.weights import load_state
from eval.arrays import Float32
from eval.baselines import external_worker as worker
from indexer.scoring.anomaly_map import SIGMA

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-compare" / "bin" / "python"


class ExternalBaseline:
    """A running worker with an environment of its own; as a context manager it ends the worker."""

    def __init__(self) -> None:
        if not PYTHON.exists():
            raise VecspectError(
                "the baselines' environment is missing. "
                "Make it: make compare-env (in the repository)"
            )
        self._files = tempfile.TemporaryDirectory(prefix="vecspect-")
        self.folder = Path(self._files.name)
        with (self.folder / "log.txt").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  vecspect's own interpreter and script
                [PYTHON, worker.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.folder,
            )

    def __enter__(self) -> ExternalBaseline:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.__exit__(None, None, None)  # closes the pipes and waits
        self._files.cleanup()

    def ask(self, call: str, **arguments: Any) -> dict[str, Any]:
        """Return the worker's answer; if there is none, VecspectError quotes the end of its log."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"call": call, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            log = (self.folder / "log.txt").read_text(errors="replace").strip().splitlines()
            raise VecspectError(f"the baseline failed on {call}: {' / '.join(log[-3:])}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def write(self, name: str, array: NDArray[Any]) -> str:
        """Write ``array`` to a .npy file and return its path."""
        file = self.folder / f"{name}.npy"
        np.save(file, array)
        return str(file)


class TorchCdist:
    """Plain torch: fp32 network, ``torch.cdist`` to a bank (M, D) float32, upsampling and blur.

    This is how a direct implementation of PatchCore processes one image.
    """

    def __init__(self, spec: BackboneSpec, weights: Path, bank: Float32) -> None:
        self._spec = spec
        self._network = Graph(build_network(spec, load_state(weights)), spec)
        self._bank = torch.from_numpy(bank)

    @torch.inference_mode()
    def score(self, path: Path) -> tuple[float, Float32]:
        """Image score and anomaly map (height, width) of one file."""
        size = self._spec.input_size
        image = load_image(path, size_hint=size)
        pixels = torch.from_numpy(to_input(image.pixels, size).copy())[None]
        patches, _ = self._network(pixels)
        _, rows, cols, dim = patches.shape
        distances = torch.cdist(patches.reshape(-1, dim), self._bank).min(dim=1).values
        heat = distances.reshape(1, 1, rows, cols)
        heat = torch.nn.functional.interpolate(heat, size, mode="bilinear")
        heat = transforms.gaussian_blur(heat, [2 * int(4 * SIGMA) + 1] * 2, [SIGMA] * 2)
        heat = torch.nn.functional.interpolate(heat, (image.height, image.width), mode="bilinear")
        return float(distances.max()), heat[0, 0].numpy()
