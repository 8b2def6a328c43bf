"""An exported network is the same network, and says so when it is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backbones import registry
from backbones.base import Backbone
from backbones.errors import BackboneError
from backbones.openvino_runtime import OpenVinoBackbone, export
from backbones.registry import export_backbone, load_backbone, load_exported, load_network
from backbones.specs import find_spec
from tests.backbones.pictures import pictures
from tests.backbones.tiny import TINY, tiny_network

ROOT = Path(registry.__file__).parent.parent
WITHOUT_TORCH = """
import sys
for name in ("torch", "timm", "torchvision", "safetensors.torch", "huggingface_hub"):
    sys.modules[name] = None  # importing it fails
import numpy as np
from backbones.registry import load_backbone
backbone = load_backbone(sys.argv[1], precision="f32")
patches = backbone.embed(np.load(sys.argv[2])).patches
np.save(sys.argv[3], patches)
print(backbone.fingerprint)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> OpenVinoBackbone:
    """A tiny network as the cache holds it."""
    file = tmp_path_factory.mktemp("cache") / "tiny.xml"
    export(tiny_network(), TINY, file, "weights")
    return OpenVinoBackbone(TINY, file, "f32", "weights")


@pytest.fixture
def folder(made: OpenVinoBackbone, tmp_path: Path) -> Path:
    """It, exported."""
    export_backbone(made, tmp_path / "exported")
    return tmp_path / "exported"


def features_of(backbone: Backbone) -> np.ndarray[Any, Any]:
    return backbone.embed(pictures(2, backbone.spec.shape)).patches


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(BackboneError) as caught:
        load_backbone(str(folder), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folder_gives_the_same_network(made: OpenVinoBackbone, folder: Path) -> None:
    assert {file.name for file in folder.iterdir()} == {
        "network.xml", "network.bin", "network.json"
    }  # fmt: skip
    again = load_backbone(str(folder), precision="f32")
    assert again.spec == TINY
    assert again.fingerprint == made.fingerprint
    assert again.source == folder
    np.testing.assert_array_equal(features_of(again), features_of(made))


def test_exporting_an_exported_network_again_changes_nothing(folder: Path, tmp_path: Path) -> None:
    export_backbone(load_backbone(str(folder), precision="f32"), tmp_path / "again")
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_folder_has_the_fingerprint_of_the_weight_file(
    cache: tuple[Path, str], weight_file: Path, tmp_path: Path
) -> None:
    backbone = load_backbone("compact", weights=weight_file, precision="f32")
    export_backbone(backbone, tmp_path / "exported")
    again = load_backbone(str(tmp_path / "exported"), precision="f32")
    assert again.fingerprint == backbone.fingerprint == cache[1]


def test_folder_runs_where_torch_cannot_be_imported(
    made: OpenVinoBackbone, folder: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "inputs.npy", pictures(2, (64, 64)))
    ended = subprocess.run(
        [
            sys.executable, "-c", WITHOUT_TORCH, str(folder),
            str(tmp_path / "inputs.npy"), str(tmp_path / "patches.npy"),
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [made.fingerprint]
    np.testing.assert_array_equal(np.load(tmp_path / "patches.npy"), features_of(made))


def cut_bin(folder: Path) -> None:
    weights = (folder / "network.bin").read_bytes()
    (folder / "network.bin").write_bytes(weights[: len(weights) // 2])


def turn_a_bit(folder: Path) -> None:
    weights = bytearray((folder / "network.bin").read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / "network.bin").write_bytes(weights)


def rewrite_card(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / "network.json").read_text())
    (folder / "network.json").write_text(json.dumps(card | changes))


def add_to_spec(folder: Path) -> None:
    spec = json.loads((folder / "network.json").read_text())["spec"]
    rewrite_card(folder, spec=spec | {"rotate": 90})


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (cut_bin, "network.xml and network.bin are not the files that network.json describes."),
        (turn_a_bit, "network.xml and network.bin are not the files that network.json describes."),
        (lambda f: (f / "network.bin").unlink(), "lacks network.xml or network.bin. Export it"),
        (lambda f: (f / "network.xml").unlink(), "lacks network.xml or network.bin. Export it"),
        (lambda f: (f / "network.xml").write_text("<net"), "are not the files that network.json"),
        (lambda f: (f / "network.json").unlink(), "holds no exported network (network.json is"),
        (lambda f: (f / "network.json").write_text("{"), "network.json cannot be used: "),
        (lambda f: (f / "network.json").write_text("[1]"), "network.json cannot be used: "),
        (lambda f: rewrite_card(f, format=1), "cannot be used: format 1, expected 2. Export the"),
        (lambda f: rewrite_card(f, spec={"name": "x"}), "network.json cannot be used: "),
        (add_to_spec, "network.json cannot be used: unknown field 'rotate' in the spec."),
    ],
    ids=[
        "half of .bin", "a bit of .bin", "no .bin", "no .xml", "half of .xml", "no card",
        "half a card", "no object", "older format", "half a spec", "spec of a newer version",
    ],
)  # fmt: skip
def test_damaged_folder_is_one_line_that_names_the_file(
    folder: Path, damage: Damage, line: str
) -> None:
    damage(folder)
    message = refusal(folder, precision="f32")
    assert str(folder) in message
    assert line in message


def test_weights_of_another_network_are_noticed(
    made: OpenVinoBackbone, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.xml"
    export(tiny_network(), replace(TINY, mean=(0.0, 0.0, 0.0)), other, "others")
    shutil.copy(other.with_suffix(".bin"), folder / "network.bin")
    assert "are not the files that" in refusal(folder)


@pytest.mark.parametrize(
    "options",
    [
        {"weights": Path("w.pth")},
        {"input_size": (64, 64)},
        {"crop": (32, 32)},
        {"padding": False},
        {"device": "cuda"},
    ],
    ids=str,
)
def test_options_that_make_a_network_do_not_go_with_a_made_one(
    folder: Path, options: dict[str, Any]
) -> None:
    assert f"{folder} is an exported network: --weights" in refusal(folder, **options)


def test_category_finds_its_network_in_the_folder_it_was_indexed_from(
    made: OpenVinoBackbone, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECSPECT_CACHE", str(tmp_path / "empty"))
    found = load_network(TINY, precision="f32", fingerprint=made.fingerprint, fallback=folder)
    assert found.fingerprint == made.fingerprint


def test_folder_named_like_a_backbone_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "compact").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_backbone("compact").spec == find_spec("compact")


def test_network_on_a_gpu_is_not_exported(made: OpenVinoBackbone, tmp_path: Path) -> None:
    class FakeTorchBackbone:
        spec, source, precision, fingerprint = TINY, None, made.precision, "fake"
        embed = made.embed

    with pytest.raises(BackboneError, match="only a network that runs on the CPU can be exported"):
        export_backbone(FakeTorchBackbone(), tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_interrupted_export_leaves_the_folder_as_it_was(
    made: OpenVinoBackbone, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def fail(source: Path, target: Path) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(OSError, match="no space left"):
        export_backbone(made, folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    load_exported(folder, "f32")
