"""The training command: resumable, seeded, and it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from backbones.distillation import train
from backbones.errors import BackboneError
from backbones.networks.build import Graph, build_network
from backbones.networks.patchcore import Trunk
from backbones.registry import load_backbone
from backbones.specs import find_spec
from tests.backbones.pictures import pictures


@pytest.fixture
def teacher_weights(tmp_path: Path) -> Path:
    """Of a random teacher without dead channels, which would be normalised by next to nothing."""
    torch.manual_seed(1)
    state = Trunk(find_spec("patchcore-resnet18")).model.state_dict()
    alive = {k: v + 1 if k.endswith("bias") else v for k, v in state.items()}
    save_file(
        {k: v for k, v in alive.items() if v.is_floating_point()}, tmp_path / "teacher.safetensors"
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


def recipe(steps: int, student: str = "compact") -> train.Recipe:
    return train.Recipe(
        teacher="patchcore-resnet18",
        student=student,
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
    monkeypatch.setattr(train, "SAVE_EVERY", 1)
    whole, broken = tmp_path / "whole.xml", tmp_path / "broken.xml"
    train.train(recipe(3), teacher_weights, images, whole, "cpu")

    batch = train.Crops.batch

    def stop_at_the_third(self: train.Crops, step: int) -> torch.Tensor:
        if step == 2:
            raise KeyboardInterrupt
        return batch(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(train.Crops, "batch", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            train.train(recipe(3), teacher_weights, images, broken, "cpu")
    train.train(recipe(3), teacher_weights, images, broken, "cpu")

    expected = load_file(whole.with_suffix(".safetensors"))
    resumed = load_file(broken.with_suffix(".safetensors"))
    assert expected.keys() == resumed.keys()
    for name, weight in expected.items():
        assert torch.equal(weight, resumed[name]), name


def test_a_state_of_another_recipe_is_refused(
    tmp_path: Path, teacher_weights: Path, images: Path
) -> None:
    out = tmp_path / "net.xml"
    train.train(recipe(1), teacher_weights, images, out, "cpu")
    with pytest.raises(BackboneError, match="belongs to another recipe"):
        train.train(recipe(2), teacher_weights, images, out, "cpu")


def test_the_loss_falls(
    tmp_path: Path, teacher_weights: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "SAVE_EVERY", 10)
    monkeypatch.setattr(train, "WARMUP_STEPS", 5)
    out = tmp_path / "net.xml"
    train.train(recipe(60), teacher_weights, images, out, "cpu")
    rows = np.loadtxt(out.with_suffix(".log.csv"), delimiter=",", skiprows=1)
    losses = rows[:, 1:3].sum(axis=1)
    assert losses[-1] < 0.9 * losses[0]


def test_what_is_written_loads_as_the_student(
    tmp_path: Path, teacher_weights: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECSPECT_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "net.xml"
    train.train(recipe(1), teacher_weights, images, out, "cpu")
    network = load_backbone("compact", weights=out.with_suffix(".safetensors"))
    assert network.fingerprint != load_backbone("compact").fingerprint
    assert out.is_file()
    assert out.with_suffix(".bin").stat().st_size < 6e6


def test_pdn_student_learns_and_what_is_written_loads_as_an_efficientad_teacher(
    tmp_path: Path, teacher_weights: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECSPECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(train, "SAVE_EVERY", 10)
    monkeypatch.setattr(train, "WARMUP_STEPS", 5)
    out = tmp_path / "pdn.xml"
    steps = replace(recipe(30, "efficientad-small"), learning_rate=1e-3)
    train.train(steps, teacher_weights, images, out, "cpu")
    losses = np.loadtxt(out.with_suffix(".log.csv"), delimiter=",", skiprows=1)[:, 1]
    assert losses[-1] < 0.9 * losses[0]

    weights = out.with_suffix(".safetensors")
    network = load_backbone(
        "efficientad-small", weights=weights, precision="f32", input_size=(64, 64)
    )
    spec = replace(find_spec("efficientad-small"), input_size=(64, 64))
    with torch.inference_mode():
        pixels = torch.from_numpy(pictures(1, (64, 64)))
        expected, _ = Graph(build_network(spec, load_file(weights)), spec)(pixels)
    got = network.embed(pictures(1, (64, 64))).patches
    assert np.abs(got - expected.numpy()).max() <= 1e-3 * float(expected.abs().max())


@pytest.mark.parametrize(
    ("teacher", "student"), [("vgg16", "compact"), ("patchcore-resnet18", "dinov2-small")]
)
def test_teacher_or_student_of_another_family_is_refused(
    teacher_weights: Path, teacher: str, student: str
) -> None:
    wanted = replace(recipe(1), teacher=teacher, student=student)
    with pytest.raises(BackboneError, match=f"got {teacher} and {student}"):
        train.make_objective(wanted, teacher_weights, "cpu")
