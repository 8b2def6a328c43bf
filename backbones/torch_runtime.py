"""Runs a backbone with torch on a CUDA device, in half precision if that preserves the features."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from backbones.base import BackboneSpec, Features, Precision
from backbones.errors import BackboneError
from backbones.networks.build import Graph, build_network, example_pixels
from backbones.openvino_runtime import PARITY_TOLERANCE, fingerprint_of, parity_error
from backbones.weights import load_state, sha256_of


class TorchBackbone:
    """A network on a torch device that implements ``Backbone``.

    Half precision is used if its features pass the same parity check as exports, otherwise single
    precision. So the fingerprint is that of ``f32``: a category learnt on a GPU can be scored on a
    CPU and vice versa.

    Raises:
        BackboneError: there is no such device, or the weights belong to another network.
    """

    precision: Precision = "f32"

    def __init__(self, spec: BackboneSpec, weights: Path, device: str) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise BackboneError("torch finds no CUDA device here: use --device cpu.")
        self.spec = spec
        self.source: Path | None = weights.resolve()
        self.fingerprint = fingerprint_of(spec, sha256_of(weights), self.precision)
        self._device = torch.device(device)
        # the parity check holds for float32, not for its 10-bit stand-in on tensor cores
        torch.backends.cudnn.allow_tf32 = False
        network = build_network(spec, load_state(weights))
        network = network.to(self._device).to(memory_format=torch.channels_last)
        self._graph = Graph(network, spec).to(self._device)
        self.half = self._device.type == "cuda" and self._try_half()

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        """Features of (N, H, W, 3) RGB images of the spec's ``shape``."""
        patches, images = self._run(torch.from_numpy(np.ascontiguousarray(inputs)))
        return Features(patches.numpy(), images.numpy())

    @torch.inference_mode()
    def _run(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        patches, images = self._graph(pixels.to(self._device))
        return patches.cpu().contiguous(), images.cpu()

    def _try_half(self) -> bool:
        example = example_pixels(self.spec)
        expected = [output.numpy() for output in self._run(example)]
        # rounding to half precision cannot be undone: the single-precision weights are kept
        single = self._graph.network
        self._graph.network = copy.deepcopy(single).to(torch.float16)
        self._graph.dtype = torch.float16
        outputs = [output.numpy() for output in self._run(example)]
        if parity_error(outputs, expected) <= PARITY_TOLERANCE:
            return True
        self._graph.network, self._graph.dtype = single, torch.float32
        return False
