from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.utils
import numpy as np
import pytest

from backbones import registry
from backbones.base import Backbone
from backbones.geometry import Size
from backbones.registry import list_backbones, load_backbone, load_network
from backbones.specs import SPECS, find_spec
from tests.backbones.conftest import refusal

ROOT = Path(registry.__file__).parent.parent
WITHOUT_TORCH = """
import sys
for name in ("torch", "timm", "torchvision", "safetensors.torch"):
    sys.modules[name] = None  # importing it fails
from pathlib import Path
import numpy as np
from backbones.registry import load_backbone, load_network
from backbones.specs import find_spec
backbone = {expression}
features = backbone.embed(np.zeros((1, 256, 256, 3), dtype=np.uint8))
print(backbone.fingerprint, *features.patches.shape, np.isfinite(features.patches).all())
"""


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    def export(*args: object) -> None:
        raise AssertionError("exported a network that lies in the cache")

    monkeypatch.setattr(registry, "export", export)


def run_without_torch(expression: str) -> list[str]:
    """What a process prints that loads and runs a backbone and cannot import torch."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH.format(expression=expression)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def features_of(backbone: Backbone) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    size = backbone.spec.input_size
    return backbone.embed(rng.integers(0, 256, (1, *size, 3), dtype=np.uint8)).patches


def test_missing_weight_file_is_named() -> None:
    for name in ("compact", "patchcore-resnet18"):
        message = refusal(name, weights=Path("/nowhere/w.safetensors"))
        assert message == (
            "no weight file at /nowhere/w.safetensors. Give --weights an existing file."
        )


def test_backbone_without_weights_of_its_own_asks_for_a_file() -> None:
    assert "pass --weights FILE" in refusal("patchcore-resnet50-v1")


def test_second_load_needs_neither_torch_nor_the_weight_file(cache: tuple[Path, str]) -> None:
    printed = run_without_torch(
        f"load_network(find_spec('compact'), precision='f32', fingerprint='{cache[1]}')"
    )
    assert printed == [cache[1], "1", "32", "32", "384", "True"]


def test_second_load_with_the_weight_file_needs_no_torch(
    cache: tuple[Path, str], weight_file: Path
) -> None:
    printed = run_without_torch(
        f"load_backbone('compact', weights=Path({str(weight_file)!r}), precision='f32')"
    )
    assert printed[0] == cache[1]


def test_bundled_network_runs_without_torch() -> None:
    printed = run_without_torch("load_backbone('compact')")
    assert printed[1:] == ["1", "32", "32", "384", "True"]


def test_network_to_be_exported_says_that_it_needs_torch(
    tmp_path: Path, weight_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECSPECT_CACHE", str(tmp_path))
    for name in ("build", "patchcore", "timm_models", "efficientad", "vgg16", "vit"):
        monkeypatch.delitem(sys.modules, f"backbones.networks.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "timm", None)
    message = refusal("compact", weights=weight_file)
    assert "backbone 'compact' needs torch and timm, which are not installed" in message


@pytest.mark.usefixtures("no_export")
def test_weights_are_known_by_their_content_not_by_their_path(
    cache: tuple[Path, str], weight_file: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "other name.safetensors"
    shutil.copy(weight_file, elsewhere)
    backbone = load_backbone("compact", weights=elsewhere, precision="f32")
    assert backbone.fingerprint == cache[1]
    assert backbone.source == elsewhere


@pytest.mark.usefixtures("no_export")
def test_fallback_is_used_only_when_no_weights_are_given_and_while_it_is_there(
    cache: tuple[Path, str], weight_file: Path
) -> None:
    spec = find_spec("compact")
    fallback = load_network(spec, fallback=weight_file, precision="f32")
    assert fallback.fingerprint == cache[1]
    bundled = load_network(spec, fallback=Path("/nowhere"), precision="f32")
    assert bundled.fingerprint != cache[1]
    assert bundled.source is None


def test_interrupted_export_is_done_again(
    filled_cache: tuple[Path, str],
    weight_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The .xml is written last: a .bin without one is what an interruption leaves."""
    monkeypatch.setenv("VECSPECT_CACHE", str(tmp_path))
    leftover = tmp_path / "networks" / f"{filled_cache[1]}.bin"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half a network")
    again = load_backbone("compact", weights=weight_file, precision="f32")
    monkeypatch.setenv("VECSPECT_CACHE", str(filled_cache[0]))
    whole = load_backbone("compact", weights=weight_file, precision="f32")
    assert np.array_equal(features_of(again), features_of(whole))
    names = sorted(path.suffix for path in leftover.parent.iterdir())
    assert names == [".bin", ".json", ".xml"], "nothing else is left behind"


@pytest.mark.usefixtures("no_export")
def test_damaged_network_in_the_cache_is_named_with_what_to_do(
    cache: tuple[Path, str], weight_file: Path
) -> None:
    network = cache[0] / "networks" / f"{cache[1]}.xml"
    network.write_text("<net")
    message = refusal("compact", weights=weight_file, precision="f32")
    assert str(network) in message
    assert "Delete it and try again" in message


def test_every_known_backbone_is_listed_in_order() -> None:
    assert [entry.spec for entry in list_backbones()] == list(SPECS)


@pytest.mark.parametrize(
    ("torch_there", "weights_there", "hub", "file"),
    [
        (True, True, "cached", "needs --weights"),
        (True, False, "needs the hub or --weights", "needs --weights"),
        (False, True, "needs torch", "needs torch"),
    ],
)
def test_list_tells_what_each_backbone_still_needs(
    monkeypatch: pytest.MonkeyPatch, torch_there: bool, weights_there: bool, hub: str, file: str
) -> None:
    find = importlib.util.find_spec

    def without_torch(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "torch" else find(name, package)

    if not torch_there:
        monkeypatch.setattr(importlib.util, "find_spec", without_torch)
    found = "/hub/model.safetensors" if weights_there else None
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: found)
    by_source = {"bundled": "bundled", "hub": hub, "file": file}
    for entry in list_backbones():
        assert entry.state == by_source[entry.spec.weights], entry.spec.name


def test_bundled_network_has_a_fixed_input_and_runs_on_the_cpu() -> None:
    for options in ({"input_size": (320, 320)}, {"crop": (224, 224)}):
        assert "the bundled 'compact' has a fixed input" in refusal("compact", **options)
    assert "the bundled 'compact' runs on the CPU" in refusal("compact", device="cuda")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"input_size": (250, 250)}, "multiple of 8 px, got 250. Try --input-size 248."),
        ({"crop": (300, 300)}, "--crop 300 does not lie within the input of 256 px."),
        ({"crop": (223, 223)}, "--crop 223 has no centre in 256 px."),
        ({"crop": (-8, -8)}, "--crop -8 does not lie within the input of 256 px."),
    ],
)
def test_size_or_crop_that_cannot_be_is_refused_with_one_that_can(
    options: dict[str, Size], line: str
) -> None:
    assert line in refusal("patchcore-resnet18", **options)
