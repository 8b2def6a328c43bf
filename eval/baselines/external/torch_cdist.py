"""The rival in plain torch: fp32 network, ``torch.cdist``, bilinear upsampling and Gaussian blur.

What a direct implementation of PatchCore does for one image; needs torch and the weight file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms import functional as transforms

from backbones.base import BackboneSpec
from backbones.decode import load_image
from backbones.geometry import to_input
from backbones.networks.build import Graph, build_network
from backbones.weights import load_state
from indexer.scoring.anomaly_map import SIGMA


class TorchCdist:
    """Scores one image at a time against a bank (M, D) float32."""

    def __init__(self, spec: BackboneSpec, weights: Path, bank: NDArray[np.float32]) -> None:
        self._spec = spec
        self._network = Graph(build_network(spec, load_state(weights)), spec)
        self._bank = torch.from_numpy(bank)

    @torch.inference_mode()
    def score(self, path: Path) -> tuple[float, NDArray[np.float32]]:
        """Image score and anomaly map (height, width) of one file."""
        size = self._spec.input_size
        image = load_image(path, size_hint=size)
        pixels = torch.from_numpy(to_input(image.pixels, size).copy())[None]
        patches, _ = self._network(pixels)
        _, rows, cols, dim = patches.shape
        distances = torch.cdist(patches.reshape(-1, dim), self._bank).min(dim=1).values
        heat = distances.reshape(1, 1, rows, cols)
        heat = torch.nn.functional.interpolate(heat, (size, size), mode="bilinear")
        heat = transforms.gaussian_blur(heat, [2 * int(4 * SIGMA) + 1] * 2, [SIGMA] * 2)
        heat = torch.nn.functional.interpolate(heat, (image.height, image.width), mode="bilinear")
        return float(distances.max()), heat[0, 0].numpy()
