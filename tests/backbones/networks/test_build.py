from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from backbones.errors import BackboneError
from backbones.networks.build import Graph, build_network, example_pixels
from tests.backbones.pictures import normalised, pictures
from tests.backbones.tiny import TINY, tiny_network

WIDE = replace(TINY, input_size=(64, 96), mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.3))


def test_graph_takes_bytes_and_normalises_them() -> None:
    network, inputs = tiny_network(), pictures(2, (64, 96))
    with torch.inference_mode():
        patches, images = Graph(network, WIDE)(torch.from_numpy(inputs))
        expected, _ = network(torch.from_numpy(normalised(inputs, WIDE)))
    assert patches.shape == (2, 8, 12, 10)
    torch.testing.assert_close(patches, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(images, patches.mean(dim=(1, 2)))


def test_network_in_half_precision_gives_float32() -> None:
    graph = Graph(tiny_network().to(torch.bfloat16), WIDE)
    graph.dtype = torch.bfloat16
    with torch.inference_mode():
        patches, images = graph(torch.from_numpy(pictures(1, (64, 96))))
    assert (patches.dtype, images.dtype) == (torch.float32, torch.float32)


def test_example_is_of_the_specs_shape_and_the_same_every_time() -> None:
    first, again = (example_pixels(WIDE, 3).numpy() for _ in range(2))
    assert first.shape == (3, 64, 96, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)


def test_family_whose_module_lacks_a_library_says_that_it_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("patchcore", "timm_models"):
        monkeypatch.delitem(sys.modules, f"backbones.networks.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BackboneError, match="needs torch and timm, which are not installed"):
        build_network(TINY)


def test_network_is_built_in_evaluation_mode() -> None:
    assert not build_network(TINY).training
