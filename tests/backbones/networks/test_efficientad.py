"""The patch description network is the one of the paper, and reads the files others wrote of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from backbones.errors import BackboneError
from backbones.families import FAMILIES
from backbones.networks.efficientad import PatchDescriptionNetwork, PdnNetwork
from backbones.registry import load_backbone
from backbones.specs import find_spec

SMALL, MEDIUM = find_spec("efficientad-small"), find_spec("efficientad-medium")
BOTH = pytest.mark.parametrize("architecture", ["small", "medium"])


def paper_small(padding: int) -> nn.Sequential:
    """Batzner et al. 2024, table 6, with its padding or none; numbered as public code has it."""
    return nn.Sequential(
        nn.Conv2d(3, 128, 4, stride=1, padding=3 * padding),
        nn.ReLU(),
        nn.AvgPool2d(2, stride=2, padding=1 * padding),
        nn.Conv2d(128, 256, 4, stride=1, padding=3 * padding),
        nn.ReLU(),
        nn.AvgPool2d(2, stride=2, padding=1 * padding),
        nn.Conv2d(256, 256, 3, stride=1, padding=1 * padding),
        nn.ReLU(),
        nn.Conv2d(256, 384, 4, stride=1, padding=0),
    )


def paper_medium(padding: int) -> nn.Sequential:
    """Table 7."""
    return nn.Sequential(
        nn.Conv2d(3, 256, 4, stride=1, padding=3 * padding),
        nn.ReLU(),
        nn.AvgPool2d(2, stride=2, padding=1 * padding),
        nn.Conv2d(256, 512, 4, stride=1, padding=3 * padding),
        nn.ReLU(),
        nn.AvgPool2d(2, stride=2, padding=1 * padding),
        nn.Conv2d(512, 512, 1, stride=1, padding=0),
        nn.ReLU(),
        nn.Conv2d(512, 512, 3, stride=1, padding=1 * padding),
        nn.ReLU(),
        nn.Conv2d(512, 384, 4, stride=1, padding=0),
        nn.ReLU(),
        nn.Conv2d(384, 384, 1, stride=1, padding=0),
    )


def paper(architecture: str, padding: bool) -> nn.Sequential:
    torch.manual_seed(0)
    return (paper_small if architecture == "small" else paper_medium)(int(padding)).eval()


def by_number_of_convolution(sequential: nn.Sequential) -> dict[str, torch.Tensor]:
    """The state of ``sequential`` under the other names in use: ``conv1.weight`` and so on."""
    convolutions = [layer for layer in sequential if isinstance(layer, nn.Conv2d)]
    return {
        f"conv{number}.{kind}": weight
        for number, layer in enumerate(convolutions, 1)
        for kind, weight in layer.state_dict().items()
    }


def pixels(side: int) -> torch.Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))


@BOTH
def test_maps_of_256_px_are_64_cells_wide_with_padding_and_56_without(
    architecture: str,
) -> None:
    with torch.device("meta"):
        for padding, side in ((True, 64), (False, 56)):
            network = PatchDescriptionNetwork(architecture, padding=padding)
            assert network(torch.empty(1, 3, 256, 256)).shape == (1, 384, side, side)


@pytest.mark.parametrize("padding", [True, False])
@pytest.mark.parametrize("name", [SMALL.name, MEDIUM.name])
@pytest.mark.parametrize("layout", ["sequential", "named"])
def test_features_are_those_of_the_papers_tables_from_either_layout_of_the_file(
    name: str, padding: bool, layout: str
) -> None:
    spec = replace(find_spec(name), input_size=(96, 96), padding=padding)
    reference = paper(spec.architecture, padding)
    state = reference.state_dict()
    assert "0.weight" in state
    if layout == "named":
        state = by_number_of_convolution(reference)
        assert "conv1.weight" in state
    with torch.inference_mode():
        maps = reference(pixels(96))
        patches, images = PdnNetwork(spec, state)(pixels(96))
    rows = maps.shape[2] // 2
    averaged = maps.reshape(1, 384, rows, 2, rows, 2).mean(dim=(3, 5)).permute(0, 2, 3, 1)
    assert patches.shape == (1, *spec.grid, 384)
    torch.testing.assert_close(patches, averaged)
    torch.testing.assert_close(images, averaged.mean(dim=(1, 2)))


@BOTH
def test_cells_that_do_not_feel_the_padding_are_the_same_without_it(
    architecture: str,
) -> None:
    state = paper(architecture, True).state_dict()
    padded = replace(find_spec(f"efficientad-{architecture}"), input_size=(96, 96))
    unpadded = replace(padded, padding=False)
    with torch.inference_mode():
        whole, inner = (PdnNetwork(s, state)(pixels(96))[0] for s in (padded, unpadded))
    cells = FAMILIES["pdn"].border // padded.stride
    torch.testing.assert_close(inner, whole[:, cells:-cells, cells:-cells])
    assert not torch.allclose(inner[:, 0], whole[:, 0, cells:-cells]), "the border is another"


@pytest.mark.parametrize(
    ("given", "wanted", "fault"),
    [
        ("medium", "small", "has another shape for '0.weight'"),
        ("small", "medium", "lacks '10.weight'"),
    ],
)
def test_file_of_the_other_size_is_refused(
    tmp_path: Path, given: str, wanted: str, fault: str
) -> None:
    save_file(paper(given, True).state_dict(), tmp_path / "teacher.safetensors")
    with pytest.raises(BackboneError) as caught:
        load_backbone(f"efficientad-{wanted}", weights=tmp_path / "teacher.safetensors")
    assert f"the weight file is not a PDN-{wanted}: it {fault}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_of_an_autoencoder_beside_the_teacher_is_refused() -> None:
    state = paper("small", True).state_dict() | {"enconv1.weight": torch.zeros(32, 3, 4, 4)}
    with pytest.raises(BackboneError, match=r"has the unknown weight 'enconv1\.weight'"):
        PdnNetwork(SMALL, state)


@pytest.mark.parametrize("padding", [True, False])
def test_pth_file_of_a_teacher_loads_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, padding: bool
) -> None:
    """As a user has it: ``teacher_small.pth`` and the command line's options."""
    monkeypatch.setenv("VECSPECT_CACHE", str(tmp_path))
    reference = paper("small", padding)
    torch.save(reference.state_dict(), tmp_path / "teacher_small.pth")
    backbone = load_backbone(
        "efficientad-small",
        weights=tmp_path / "teacher_small.pth",
        precision="f32",
        input_size=(96, 96),
        padding=padding,
    )
    noise = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    mean, std = np.array(backbone.spec.mean), np.array(backbone.spec.std)
    normal = torch.tensor((noise / 255 - mean) / std, dtype=torch.float32).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = nn.functional.avg_pool2d(reference(normal), 2).permute(0, 2, 3, 1).numpy()
    patches = backbone.embed(noise).patches
    assert np.abs(patches - expected).max() <= 1e-3 * np.abs(expected).max()
