"""The patch description network (PDN), EfficientAD's teacher.

Batzner et al., "EfficientAD: Accurate Visual Anomaly Detection at Millisecond-Level Latencies",
WACV 2024, tables 6 and 7 (supplement). A 256 px input gives 64 x 64 cells 4 pixels apart; here each
2 x 2 of them are averaged, because a memory bank pays twice for cells: when it stores them and when
it searches them. A category normalises the channels.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from backbones.base import BackboneSpec
from backbones.networks.timm_models import copy_weights

TEACHER_DIM = 384

_LAYERS: dict[str, list[tuple[int, int, int] | None]] = {
    # output channels, kernel, padding; None is average pooling by two
    "small": [(128, 4, 3), None, (256, 4, 3), None, (256, 3, 1), (384, 4, 0)],
    "medium": [
        (256, 4, 3), None, (512, 4, 3), None, (512, 1, 0), (512, 3, 1), (384, 4, 0), (384, 1, 0)
    ],
}  # fmt: skip


def build(spec: BackboneSpec, state: Mapping[str, Tensor] | None) -> nn.Module:
    """The PDN of ``spec``, see `build_network`."""
    return PdnNetwork(spec, state)


class PatchDescriptionNetwork(nn.Module):
    """The teacher: (N, 3, Y, X) -> (N, 384, Y/4, X/4), eight rows and columns fewer unpadded."""

    def __init__(self, architecture: str, *, padding: bool = True) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        channels, last = 3, len(_LAYERS[architecture]) - 1
        for number, step in enumerate(_LAYERS[architecture]):
            if step is None:
                steps.append(nn.AvgPool2d(2, 2, padding=int(padding)))
                continue
            width, kernel, pad = step
            steps.append(nn.Conv2d(channels, width, kernel, padding=pad if padding else 0))
            if number < last:
                steps.append(nn.ReLU())
            channels = width
        self.layers = nn.Sequential(*steps)

    def forward(self, pixels: Tensor) -> Tensor:
        """The teacher's maps."""
        maps: Tensor = self.layers(pixels)
        return maps

    def load(self, state: Mapping[str, Tensor], what: str) -> None:
        """Copy weights, named by convolution number (``conv1.``) or layer number (``0.``).

        Raises:
            BackboneError: the weights are not those of this network.
        """
        numbers = [i for i, layer in enumerate(self.layers) if isinstance(layer, nn.Conv2d)]
        names = {f"conv{k}": str(i) for k, i in enumerate(numbers, 1)}
        renamed = {}
        for name, weight in state.items():
            layer, _, kind = name.rpartition(".")
            renamed[f"{names.get(layer, layer)}.{kind}"] = weight
        copy_weights(self.layers, renamed, set(self.layers.state_dict()), what)


class PdnNetwork(nn.Module):
    """The teacher pooled: (N, 3, Y, X) -> patches (N, Y/8, X/8, 384) and their mean (N, 384)."""

    def __init__(self, spec: BackboneSpec, state: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.teacher = PatchDescriptionNetwork(spec.architecture, padding=spec.padding)
        if state is not None:
            self.teacher.load(state, f"PDN-{spec.architecture}")

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return patches (N, H, W, 384) and images (N, 384)."""
        patches = nn.functional.avg_pool2d(self.teacher(pixels), 2).permute(0, 2, 3, 1)
        return patches, patches.mean(dim=(1, 2))
