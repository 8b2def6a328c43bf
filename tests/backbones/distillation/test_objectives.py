from __future__ import annotations

import pytest
import torch

from backbones.distillation.objectives import OBJECTIVES, DescribePatches, LayerByLayer
from backbones.families import FAMILIES
from backbones.networks.build import build_network
from backbones.networks.patchcore import PatchCoreNetwork, Trunk
from backbones.specs import find_spec


def test_layers_of_the_student_are_matched_to_those_of_the_teacher() -> None:
    torch.manual_seed(0)
    teacher = Trunk(find_spec("patchcore-resnet50")).eval()
    objective = LayerByLayer(teacher, find_spec("compact"))
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        targets, predictions = objective.targets(pixels), objective.predictions(pixels)
        for target, layer in zip(targets, teacher(pixels), strict=True):
            assert torch.equal(target, layer)
    assert [tuple(m.shape) for m in targets] == [(2, 512, 8, 8), (2, 1024, 4, 4)]
    assert [m.shape for m in predictions] == [m.shape for m in targets]


@pytest.mark.parametrize("student", ["compact", "efficientad-small"])
def test_state_of_the_learner_builds_the_students_network(student: str) -> None:
    torch.manual_seed(0)
    spec = find_spec(student)
    objective = OBJECTIVES[spec.family](Trunk(find_spec("patchcore-resnet18")), spec)
    objective.learner.eval()
    pixels = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        learnt, _ = objective.network()(pixels)
        loaded, _ = build_network(spec, objective.state())(pixels)
    torch.testing.assert_close(loaded, learnt)


def test_objectives_are_of_families_that_there_are() -> None:
    assert set(OBJECTIVES) <= set(FAMILIES)


@pytest.mark.parametrize("teacher", ["patchcore-resnet18", "patchcore-resnet50"])
def test_targets_of_a_pdn_are_the_teachers_features_in_384_channels_on_the_students_grid(
    teacher: str,
) -> None:
    """Of 1536 channels each target is the mean of four neighbouring ones."""
    torch.manual_seed(0)
    trunk = Trunk(find_spec(teacher)).eval()
    objective = DescribePatches(trunk, find_spec("efficientad-small"))
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        (targets,), (predictions,) = objective.targets(pixels), objective.predictions(pixels)
        patches, _ = PatchCoreNetwork(trunk)(pixels)
    assert targets.shape == predictions.shape == (2, 384, 8, 8)
    grouped = patches.reshape(2, 8, 8, 384, -1).mean(dim=-1)
    torch.testing.assert_close(targets.permute(0, 2, 3, 1), grouped)
