"""Runs a backbone with OpenVINO on the CPU: export, parity check, cache, inference.

A torch network is exported once; the IR is stored in the user's cache folder under its fingerprint,
and later runs need neither torch nor the weight file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import openvino as ov
import platformdirs
from numpy.typing import NDArray

from backbones.base import BackboneSpec, Features, Float32, Precision
from backbones.errors import BackboneError
from backbones.model_card import Card, sha256_of_network

if TYPE_CHECKING:
    from torch import nn

GRAPH_VERSION = 1
"""Increase it when preprocessing or a head changes, because the features then differ."""

SHARED_CALLS = 16
"""Calls that get half of the cores after one that found another thread's in progress."""

PARITY_TOLERANCE = 1e-3
"""Largest error of the exported network in f32 against torch, relative to the largest feature."""


def cache_folder() -> Path:
    """The folder of exported networks; it may be deleted at any time."""
    root = os.environ.get("VECSPECT_CACHE") or platformdirs.user_cache_dir("vecspect")
    return Path(root) / "networks"


def cached_network(fingerprint: str) -> Path:
    """The cache file (.xml) of a network, whether or not it exists yet."""
    return cache_folder() / f"{fingerprint}.xml"


def is_whole(network: Path) -> bool:
    """True if a network and its card exist; they are written in one step, .xml last."""
    return network.is_file() and network.with_suffix(".json").is_file()


@functools.cache
def native_precision() -> Precision:
    """The faster format of this CPU: bf16 if its instructions include it, otherwise f32.

    AMX and AVX-512 BF16 multiply bf16; other CPUs emulate it, which is slower than f32.
    """
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.is_file() else ""
    return "bf16" if "amx_bf16" in flags or "avx512_bf16" in flags else "f32"


def fingerprint_of(spec: BackboneSpec, weights_sha256: str, precision: Precision) -> str:
    """Hash of everything that fixes the features, whatever the machine, names and paths.

    Fields at their default are left out, so that a new option invalidates no category.
    """
    parts = {"weights": weights_sha256, "precision": precision, "graph": GRAPH_VERSION}
    for name in ("architecture", "layers", "input_size", "stride_in_1x1"):
        parts[name] = getattr(spec, name)
    defaults = {f.name: f.default for f in dataclasses.fields(BackboneSpec)}
    for name in ("family", "crop", "padding", "mean", "std"):
        if getattr(spec, name) != defaults[name]:
            parts[name] = getattr(spec, name)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class OpenVinoBackbone:
    """A compiled network that implements ``Backbone``; threads may share it.

    Args:
        network: the .xml file.
        weights_sha256: hash of the weights the network was made from.
        source: the file or folder it came from, if a user named one.
    """

    def __init__(
        self,
        spec: BackboneSpec,
        network: Path,
        precision: Precision,
        weights_sha256: str,
        *,
        source: Path | None = None,
    ) -> None:
        self.spec = spec
        self.network = network
        self.precision = precision
        self.weights_sha256 = weights_sha256
        self.source = source
        self.fingerprint = fingerprint_of(spec, weights_sha256, precision)
        self._alone = threading.Lock()
        self._shared_calls = 0
        self._halves: ov.CompiledModel | None = None
        self._same = False
        self._of_thread = threading.local()
        try:
            self._compiled = compile_network(network, precision)
        except RuntimeError as error:
            raise BackboneError(
                f"the exported network {network} cannot be read. Delete it and try again."
            ) from error

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        """Features of (N, H, W, 3) RGB images of the spec's ``shape``."""
        if not self._alone.acquire(blocking=False):
            self._shared_calls = SHARED_CALLS
            return self._embed_on_half(inputs)
        try:
            if not self._shared_calls:
                return Features(*self._compiled(inputs, share_inputs=True).to_tuple())
            self._shared_calls -= 1
        finally:
            self._alone.release()
        return self._embed_on_half(inputs)

    def _embed_on_half(self, inputs: NDArray[np.uint8]) -> Features:
        """Features computed by half of the cores, while another thread uses the others."""
        if not hasattr(self._of_thread, "request"):
            with self._alone:
                self._of_thread.request = self._new_request(inputs)
        if self._of_thread.request is None:
            with self._alone:
                return Features(*self._compiled(inputs, share_inputs=True).to_tuple())
        return Features(*self._of_thread.request.infer(inputs, share_inputs=True).to_tuple())

    def _new_request(self, inputs: NDArray[np.uint8]) -> ov.InferRequest | None:
        """A request of a network in two halves; None unless that gives the same features."""
        if self._halves is None:
            self._halves = compile_network(self.network, self.precision, streams=2)
            whole, half = (each(inputs).to_tuple() for each in (self._compiled, self._halves))
            self._same = all(map(np.array_equal, whole, half))
        return self._halves.create_infer_request() if self._same else None


def compile_network(
    network: Path | ov.Model, precision: Precision, streams: int = 1
) -> ov.CompiledModel:
    """Compile a network for one process, with a batch of any size.

    Each of ``streams`` calls at a time has an equal share of the cores.

    The latency hint is faster for batches too: it gives every core to one batch. The floating-point
    layers of a quantised network run in f32.
    """
    hint = "f32" if precision == "int8" else precision
    options = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    if streams > 1:
        options["NUM_STREAMS"] = str(streams)
    return ov.Core().compile_model(network, "CPU", options)


def export(
    network: nn.Module, spec: BackboneSpec, target: Path, weights_sha256: str, *, half: bool = False
) -> None:
    """Write ``network`` (from ``build_network``) as IR, after a parity check in f32.

    ``target`` (.xml), .bin and the card (.json) appear whole or not at all. ``half`` stores the
    weights as fp16.

    Raises:
        BackboneError: OpenVINO cannot convert the network, or gives different results.
    """
    import torch

    from backbones.networks.build import Graph, example_pixels

    graph = Graph(network, spec)
    example = example_pixels(spec)
    batch = torch.export.Dim("batch", min=1, max=1024)
    with _quiet(), torch.inference_mode():
        expected = [t.numpy() for t in graph(example)]
        try:
            program = torch.export.export(graph, (example,), dynamic_shapes=({0: batch},))
            model = ov.convert_model(program)
        except Exception as error:  # torch.export and the converter raise errors of their own
            raise BackboneError(
                f"'{spec.name}' cannot be exported ({type(error).__name__}): its network does "
                "something that OpenVINO or torch.export do not support. Choose another."
            ) from error
    model.reshape([-1, *spec.shape, 3])
    grid = (*spec.grid, spec.dim)
    if expected[0].shape[1:] != grid:
        raise BackboneError(
            f"'{spec.name}' gives patches of shape {expected[0].shape[1:]}, expected {grid}: its "
            "maps do not halve as timm says. Choose other layers or another input size."
        )
    outputs = compile_network(model, "f32")(example.numpy()).to_tuple()
    difference = parity_error(outputs, expected)
    if not difference <= PARITY_TOLERANCE:
        raise BackboneError(
            f"OpenVINO and torch disagree on '{spec.name}' by {difference:.1e} "
            f"(allowed {PARITY_TOLERANCE:.0e}): not exported. Please report this network."
        )
    save(partial(ov.save_model, model, compress_to_fp16=half), spec, target, weights_sha256, "f32")


def save(
    write: Callable[[Path], object],
    spec: BackboneSpec,
    target: Path,
    weights_sha256: str,
    precision: Precision,
) -> None:
    """Write the IR, by calling ``write``, and its card: both completely or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        file = Path(folder) / target.name
        write(file)
        card = Card(spec, weights_sha256, precision, sha256_of_network(file))
        card.write(file.with_suffix(".json"))
        # the .xml goes last: its presence means that all files are there
        for suffix in (".bin", ".json", ".xml"):
            file.with_suffix(suffix).replace(target.with_suffix(suffix))


def parity_error(outputs: Sequence[Float32], expected: Sequence[Float32]) -> float:
    """Largest absolute difference of any output, relative to the largest value of that output."""
    return max(
        float(np.abs(got - want).max() / np.abs(want).max())
        for got, want in zip(outputs, expected, strict=True)
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's deprecation warnings."""
    import logging
    import warnings

    logging.getLogger("torch.export").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
