"""Distillation objectives: match the teacher's maps layer by layer, or its patch features."""

from __future__ import annotations

from typing import Protocol, cast

from torch import Tensor, nn

from backbones.base import BackboneSpec
from backbones.networks.efficientad import TEACHER_DIM, PdnNetwork
from backbones.networks.patchcore import PatchCoreNetwork, Trunk


class Objective(Protocol):
    """Both sides of a distillation loss, from the same (N, 3, S, S) crops."""

    learner: nn.Module
    """Every module that is trained."""

    def targets(self, pixels: Tensor) -> list[Tensor]:
        """The teacher's maps, each (N, C, H, W), not normalised."""

    def predictions(self, pixels: Tensor) -> list[Tensor]:
        """The learner's maps, of the same shapes as the targets."""

    def network(self) -> nn.Module:
        """The student as ``build_network`` makes it."""

    def state(self) -> dict[str, Tensor]:
        """The student's weights under the names of its weight file."""


class LayerByLayer:
    """Distils a CNN by matching its maps to those of the teacher's layers."""

    def __init__(self, teacher: Trunk, spec: BackboneSpec) -> None:
        self._teacher = teacher
        self._student = Trunk(spec)
        heads = (
            nn.Conv2d(a, b, 1)
            for a, b in zip(self._student.channels, teacher.channels, strict=True)
        )
        self._heads = nn.ModuleList(heads)
        self.learner: nn.Module = nn.ModuleDict({"student": self._student, "heads": self._heads})

    def targets(self, pixels: Tensor) -> list[Tensor]:
        """The teacher's maps, one per layer."""
        return cast(list[Tensor], self._teacher(pixels))

    def predictions(self, pixels: Tensor) -> list[Tensor]:
        """The student's maps after their 1x1 heads, one per layer."""
        return [head(m) for head, m in zip(self._heads, self._student(pixels), strict=True)]

    def network(self) -> nn.Module:
        """The student trunk with the PatchCore head."""
        return PatchCoreNetwork(self._student)

    def state(self) -> dict[str, Tensor]:
        """The student's weights under timm's names."""
        return cast(dict[str, Tensor], self._student.model.state_dict())


class DescribePatches:
    """Distils a PDN that predicts the teacher's PatchCore features from half the resolution."""

    def __init__(self, teacher: Trunk, spec: BackboneSpec) -> None:
        self._teacher = PatchCoreNetwork(teacher)
        self._student = PdnNetwork(spec)
        self.learner: nn.Module = self._student

    def targets(self, pixels: Tensor) -> list[Tensor]:
        """The teacher's patch features (N, 384, S/8, S/8), neighbouring channels averaged."""
        patches, _ = self._teacher(pixels)
        pooled = nn.functional.adaptive_avg_pool1d(patches.flatten(1, 2), TEACHER_DIM)
        count, rows, cols, _ = patches.shape
        return [pooled.reshape(count, rows, cols, TEACHER_DIM).permute(0, 3, 1, 2)]

    def predictions(self, pixels: Tensor) -> list[Tensor]:
        """The student's maps (N, 384, S/8, S/8)."""
        half = nn.functional.interpolate(
            pixels, scale_factor=0.5, mode="bilinear", antialias=True, align_corners=False
        )
        return [self._student.teacher(half)]

    def network(self) -> nn.Module:
        """The PDN with its averaging."""
        return self._student

    def state(self) -> dict[str, Tensor]:
        """The student's weights, numbered as in an ``nn.Sequential``."""
        return self._student.teacher.layers.state_dict()


OBJECTIVES: dict[str, type[LayerByLayer] | type[DescribePatches]] = {
    "patchcore": LayerByLayer,
    "pdn": DescribePatches,
}
"""Objectives by the student's family."""
