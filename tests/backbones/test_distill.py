"""The training command: resumable, seeded, and it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from backbones import distill
from backbones.patchcore import build_trunk
from backbones.registry import load_backbone
from backbones.specs import find_spec


@pytest.fixture
def teacher_weights(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    state = build_trunk(find_spec("patchcore-resnet18")).state_dict()
    save_file(
        {k: v for k, v in state.items() if v.is_floating_point()}, tmp_path / "teacher.safetensors"
    )
    return tmp_path / "teacher.safetensors"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(4):
        pixels = rng.integers(0, 256, (80, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    return tmp_path / "images"


def recipe(steps: int) -> distill.Recipe:
    return distill.Recipe(
        teacher="patchcore-resnet18",
        student="compact",
        steps=steps,
        batch=2,
        crop=64,
        learning_rate=2e-3,
        weight_decay=0.0,
        seed=0,
    )


def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, teacher_weights: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill, "SAVE_EVERY", 1)
    whole, broken = tmp_path / "whole.xml", tmp_path / "broken.xml"
    distill.train(recipe(3), teacher_weights, images, whole, "cpu")

    batch = distill.Crops.batch

    def stop_at_the_third(self: distill.Crops, step: int) -> torch.Tensor:
        if step == 2:
            raise KeyboardInterrupt
        return batch(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(distill.Crops, "batch", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            distill.train(recipe(3), teacher_weights, images, broken, "cpu")
    distill.train(recipe(3), teacher_weights, images, broken, "cpu")

    expected = load_file(whole.with_suffix(".safetensors"))
    resumed = load_file(broken.with_suffix(".safetensors"))
    assert expected.keys() == resumed.keys()
    for name, weight in expected.items():
        assert torch.equal(weight, resumed[name]), name


def test_a_state_of_another_recipe_is_refused(
    tmp_path: Path, teacher_weights: Path, images: Path
) -> None:
    out = tmp_path / "net.xml"
    distill.train(recipe(1), teacher_weights, images, out, "cpu")
    with pytest.raises(SystemExit, match="belongs to another recipe"):
        distill.train(recipe(2), teacher_weights, images, out, "cpu")


def test_the_loss_falls(
    tmp_path: Path, teacher_weights: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distill, "SAVE_EVERY", 10)
    monkeypatch.setattr(distill, "WARMUP_STEPS", 5)
    out = tmp_path / "net.xml"
    distill.train(recipe(60), teacher_weights, images, out, "cpu")
    rows = np.loadtxt(out.with_suffix(".log.csv"), delimiter=",", skiprows=1)
    losses = rows[:, 1:3].sum(axis=1)
    assert losses[-1] < 0.9 * losses[0]


def test_what_is_written_loads_as_the_student(
    tmp_path: Path, teacher_weights: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECSPECT_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "net.xml"
    distill.train(recipe(1), teacher_weights, images, out, "cpu")
    network = load_backbone("compact", weights=out.with_suffix(".safetensors"))
    assert network.fingerprint != load_backbone("compact").fingerprint
    assert out.is_file()
    assert out.with_suffix(".bin").stat().st_size < 6e6
