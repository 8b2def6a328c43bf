"""Every backbone computes today what it computed when it was added, by torch and by OpenVINO.

A new spec's numbers go to `golden.py`; the test that fails for lack of them prints them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from backbones.base import BackboneSpec, Features, Float32
from backbones.networks.build import Graph, build_network
from backbones.openvino_runtime import OpenVinoBackbone, export
from backbones.specs import SPECS, find_spec
from tests.backbones.conftest import MakeNetwork
from tests.backbones.golden import GOLDEN, Cell
from tests.backbones.pictures import assert_same, pictures

NAMES = [spec.name for spec in SPECS]


@dataclass(frozen=True)
class Run:
    """Features of the same two pictures by either runtime."""

    torch: Features
    openvino: Features


def small(spec: BackboneSpec) -> BackboneSpec:
    """``spec`` with as few cells as its family takes: VGG16 cannot be had smaller."""
    side = {"patchcore": 64, "pdn": 64, "vit": 4 * spec.stride, "vgg": 224}[spec.family]
    return replace(spec, input_size=(side, side))


def in_torch(network: torch.nn.Module, spec: BackboneSpec) -> Features:
    with torch.inference_mode():
        patches, images = Graph(network, spec)(torch.from_numpy(pictures(2, spec.shape)))
    return Features(patches.contiguous().numpy(), images.numpy())


@pytest.fixture(scope="session")
def run(
    random_network: MakeNetwork, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Run]:
    """Runs the backbone of a name with random weights, once a session, and keeps the features."""

    @functools.cache
    def run_once(name: str) -> Run:
        spec = small(find_spec(name))
        network = random_network(spec)
        file = tmp_path_factory.mktemp(name) / "network.xml"
        export(network, spec, file, "weights")
        exported = OpenVinoBackbone(spec, file, "f32", "weights").embed(pictures(2, spec.shape))
        for part in (file, file.with_suffix(".bin")):
            part.unlink()  # half a gigabyte, of VGG16
        return Run(in_torch(network, spec), exported)

    return run_once


def as_literal(features: Features, cells: tuple[Cell, Cell]) -> str:
    """What `golden.py` holds of these features."""
    lines = []
    for cell in cells:
        vector = features.patches[cell]
        values = ", ".join(f"{value:.4g}" for value in vector[:8])
        lines.append(f"{cell}: ([{values}], {np.linalg.norm(vector):.4g}),")
    return "\n".join(lines)


def test_every_backbone_has_its_golden_vector_and_no_other_has() -> None:
    assert list(GOLDEN) == NAMES
    assert all(len(of_cells) == 2 for of_cells in GOLDEN.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_features_are_those_of_the_day_the_backbone_was_added(
    run: Callable[[str], Run], name: str, runtime: str
) -> None:
    features: Features = getattr(run(name), runtime)
    last = features.patches.shape[1] - 1
    assert name in GOLDEN, as_literal(features, ((0, 0, 0), (1, last, last // 2)))
    for cell, (values, norm) in GOLDEN[name].items():
        vector: Float32 = features.patches[cell]
        tolerance = 1e-3 * float(np.abs(vector).max())
        np.testing.assert_allclose(vector[:8], values, rtol=0, atol=tolerance)
        assert np.linalg.norm(vector) == pytest.approx(norm, rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_openvino_gives_the_features_of_torch(run: Callable[[str], Run], name: str) -> None:
    both = run(name)
    assert_same(both.openvino, both.torch, 1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_shape_of_the_features_is_the_one_the_spec_tells(
    run: Callable[[str], Run], name: str
) -> None:
    spec = small(find_spec(name))
    features = run(name).torch
    assert features.patches.shape == (2, *spec.grid, spec.dim)
    assert features.images.shape == (2, spec.dim)


@pytest.mark.parametrize("name", ["compact", "efficientad-small", "dinov2-small", "dinov3-small"])
def test_no_weight_is_without_effect_on_the_golden_vector(
    random_network: MakeNetwork, name: str
) -> None:
    """Else a fault in the layer that it belongs to would go unseen. By the gradient."""
    spec = small(find_spec(name))
    network = random_network(spec)
    features = Graph(network, spec)(torch.from_numpy(pictures(2, spec.shape)))
    generator = torch.Generator().manual_seed(0)
    for output in features:
        probe = torch.randn(output.shape, generator=generator) / output.detach().norm()
        torch.autograd.backward((output * probe).sum(), retain_graph=True)
    for path, weight in network.named_parameters():
        assert weight.grad is not None, path
        assert float(weight.grad.norm() * weight.detach().norm()) > 1e-2, path


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
def test_spec_tells_the_shape_at_full_size_and_the_number_of_weights(spec: BackboneSpec) -> None:
    with torch.device("meta"):
        network = build_network(spec)
        patches, images = network(torch.empty(1, 3, *spec.shape))
    assert patches.shape == (1, *spec.grid, spec.dim)
    assert images.shape == (1, spec.dim)
    weights = sum(weight.numel() for weight in network.parameters())
    assert weights / 1e6 == pytest.approx(spec.parameters, abs=0.06)
