"""Runs a backbone with OpenVINO on the CPU: export, parity check, cache, inference.

A torch network is exported once; the IR lies in the user's cache folder under its fingerprint
and later runs need neither torch nor the weight file.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
import platformdirs
from numpy.typing import NDArray

from backbones.base import BackboneSpec, Features, Precision
from backbones.errors import BackboneError
from backbones.preprocess import MEAN, STD

if TYPE_CHECKING:
    from torch import nn

GRAPH_VERSION = 1
"""Raise it when preprocessing or the PatchCore head changes: the features then differ."""

PARITY_TOLERANCE = 1e-3
"""Largest error of the exported network in f32 against torch, relative to the largest feature."""


def cache_folder() -> Path:
    """Exported networks; may be deleted at any time."""
    root = os.environ.get("VECSPECT_CACHE") or platformdirs.user_cache_dir("vecspect")
    return Path(root) / "networks"


@functools.cache
def native_precision() -> Precision:
    """bf16 where the CPU has AMX tiles for it, else f32.

    Without AMX, OpenVINO still offers bf16 (AVX-512), and it is slower than f32 there.
    """
    cpuinfo = Path("/proc/cpuinfo")
    has_amx = cpuinfo.is_file() and "amx_bf16" in cpuinfo.read_text()
    return "bf16" if has_amx else "f32"


def fingerprint_of(spec: BackboneSpec, weights_sha256: str, precision: Precision) -> str:
    """Hash of what fixes the features: same on every machine, blind to names and paths."""
    parts = {
        "architecture": spec.architecture,
        "layers": spec.layers,
        "input_size": spec.input_size,
        "stride_in_1x1": spec.stride_in_1x1,
        "weights": weights_sha256,
        "precision": precision,
        "graph": GRAPH_VERSION,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class OpenVinoBackbone:
    """A compiled network; implements ``Backbone``. Not safe for calls from several threads."""

    def __init__(
        self, spec: BackboneSpec, network: Path, precision: Precision, fingerprint: str
    ) -> None:
        self.spec = spec
        self.precision = precision
        self.fingerprint = fingerprint
        self.weights_file: Path | None = None
        try:
            self._compiled = compile_network(network, precision)
        except RuntimeError as error:
            raise BackboneError(
                f"the exported network {network} cannot be read. Delete it and try again."
            ) from error

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        """Features of (N, S, S, 3) RGB images at the spec's input size."""
        patches, embeddings = self._compiled(inputs, share_inputs=True).to_tuple()
        return Features(patches=patches, images=embeddings)


def compile_network(network: Path | ov.Model, precision: Precision) -> ov.CompiledModel:
    """Compile for one process with a batch of any size.

    The latency hint is the faster one for batches too: it gives every core to one batch.
    """
    return ov.Core().compile_model(
        network, "CPU", {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    )


def export(trunk: nn.Module, spec: BackboneSpec, target: Path, *, half: bool = False) -> None:
    """Write ``trunk`` with normalisation and PatchCore head as IR, after a parity check in f32.

    The file appears under ``target`` whole or not at all. ``half`` stores the weights as fp16.
    """
    import torch

    network = build_graph(trunk)
    example = torch.randint(
        0,
        256,
        (2, spec.input_size, spec.input_size, 3),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(0),
    )
    batch = torch.export.Dim("batch", min=1, max=1024)
    with _quiet():
        program = torch.export.export(network, (example,), dynamic_shapes=({0: batch},))
        model = ov.convert_model(program)
    model.reshape([-1, spec.input_size, spec.input_size, 3])
    with torch.inference_mode():
        expected = [t.numpy() for t in network(example)]
    error = parity_error(compile_network(model, "f32"), example.numpy(), expected)
    if not error <= PARITY_TOLERANCE:
        raise BackboneError(
            f"OpenVINO and torch disagree on '{spec.name}' by {error:.1e} "
            f"(allowed {PARITY_TOLERANCE:.0e}): not exported. Please report this network."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        partial = Path(folder) / target.name
        ov.save_model(model, partial, compress_to_fp16=half)
        # the .xml goes last: its presence says that both are there
        for suffix in (".bin", ".xml"):
            partial.with_suffix(suffix).replace(target.with_suffix(suffix))


def build_graph(trunk: nn.Module) -> nn.Module:
    """(N, S, S, 3) uint8 pixels -> patches (N, H, W, D), image embeddings (N, D); torch."""
    import torch

    from backbones.patchcore import PatchCoreNetwork

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = PatchCoreNetwork(trunk)
            self.mean = torch.nn.Buffer(torch.tensor(MEAN) * 255)
            self.std = torch.nn.Buffer(torch.tensor(STD) * 255)

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            normalised = (pixels.float() - self.mean) / self.std
            patches, images = self.network(normalised.permute(0, 3, 1, 2))
            return patches, images

    return Graph().eval()


def parity_error(
    compiled: Callable[[NDArray[np.uint8]], Any],
    inputs: NDArray[np.uint8],
    expected: Sequence[NDArray[np.float32]],
) -> float:
    """Largest absolute difference of any output, relative to that output's largest value."""
    outputs = compiled(inputs).to_tuple()
    return max(
        float(np.abs(got - want).max() / np.abs(want).max())
        for got, want in zip(outputs, expected, strict=True)
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's deprecation chatter away from the user."""
    import logging
    import warnings

    logging.getLogger("torch.export").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
