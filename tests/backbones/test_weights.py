from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import huggingface_hub.utils
import pytest
import torch

from backbones.specs import find_spec
from backbones.weights import bundled_network, hub_file, load_state, sha256_of
from tests.backbones.conftest import refusal


def test_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"weights")
    assert sha256_of(tmp_path / "w") == hashlib.sha256(b"weights").hexdigest()


def test_bundled_network_lies_in_the_package() -> None:
    network = bundled_network(find_spec("compact"))
    assert network.is_file()
    assert network.with_suffix(".bin").is_file()


ONE_OF_EACH_FAMILY = ("patchcore-resnet18", "efficientad-small", "vgg16", "dinov2-small")


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("form", ["torch", "pickle"])
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_weight_file_that_carries_code_is_refused_and_nothing_executed(
    tmp_path: Path, name: str, form: str
) -> None:
    file, sprung = tmp_path / "w.pth", tmp_path / "sprung"
    state = {"conv1.weight": torch.zeros(1), "extra": Trap(sprung)}
    if form == "torch":
        torch.save(state, file)
    else:
        file.write_bytes(pickle.dumps(state))
    message = refusal(name, weights=file)
    assert str(file) in message
    assert not sprung.exists()
    if form == "torch":
        assert "holds more than tensors and was not loaded" in message


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_damaged_weight_file_is_refused_by_name(
    tmp_path: Path, weight_file: Path, name: str, suffix: str, damage: str
) -> None:
    file = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save(load_state(weight_file), file)
    else:
        shutil.copy(weight_file, file)
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}[damage])
    message = refusal(name, weights=file)
    assert message.startswith(f"{file} ")
    assert "safetensors" in message


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(3)])
def test_file_without_a_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pt")
    assert "does not hold a state dict" in refusal("compact", weights=tmp_path / "w.pt")


def test_state_dict_within_a_checkpoint_is_found(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {"w": torch.ones(2)}}, tmp_path / "w.pth")
    assert load_state(tmp_path / "w.pth")["w"].tolist() == [1, 1]


class Unreachable:
    """A session of a hub that nobody can reach."""

    def head(self, url: str, timeout: float) -> None:
        raise ConnectionError(f"cannot resolve\n{url} within {timeout}")


def test_unreachable_hub_is_one_line_that_names_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[object] = []
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a: tried.append(a))
    monkeypatch.setattr(huggingface_hub.utils, "get_session", Unreachable)
    message = refusal("patchcore-resnet18")
    assert "the weights of 'patchcore-resnet18' are not on this machine" in message
    assert "timm/resnet18.tv_in1k" in message
    assert "--weights FILE" in message
    assert not tried, "the download itself would retry for half a minute"


def test_weights_in_the_hubs_cache_are_used_without_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: "/hub/w.safetensors")
    monkeypatch.setattr(huggingface_hub.utils, "get_session", Unreachable)
    spec = find_spec("patchcore-resnet18")
    assert hub_file(spec, download=True) == Path("/hub/w.safetensors")
