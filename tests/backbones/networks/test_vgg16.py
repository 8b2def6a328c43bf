"""VGG16's embedding is the one that timm and torchvision compute from the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from backbones.errors import BackboneError
from backbones.networks.vgg16 import Vgg16Network
from backbones.specs import find_spec

SPEC = find_spec("vgg16")


@pytest.fixture(scope="module")
def published() -> Any:
    """Torchvision's network with random weights, under which no layer fades; read only."""
    network = torchvision.models.vgg16(weights=None, init_weights=False)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith("bias"):
                weight.normal_(0, 0.1)
            else:
                weight.normal_(0, (2 / weight[0].numel()) ** 0.5)
    return network.eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def embedding(network: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        patches, images = network(pixels)
    assert torch.equal(patches, images[:, None, None, :]), "the one patch is the embedding"
    result: torch.Tensor = images
    return result


def timm_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Torchvision's state dict as timm has it: the fully connected layers are convolutions."""
    first, second = state["classifier.0.weight"], state["classifier.3.weight"]
    return {k: v for k, v in state.items() if k.startswith("features")} | {
        "pre_logits.fc1.weight": first.reshape(4096, 512, 7, 7),
        "pre_logits.fc1.bias": state["classifier.0.bias"],
        "pre_logits.fc2.weight": second.reshape(4096, 4096, 1, 1),
        "pre_logits.fc2.bias": state["classifier.3.bias"],
        "head.fc.weight": state["classifier.6.weight"],
        "head.fc.bias": state["classifier.6.bias"],
    }


def test_torchvisions_file_gives_its_activations_after_the_second_fully_connected_relu(
    published: Any, pixels: torch.Tensor
) -> None:
    images = embedding(Vgg16Network(SPEC, published.state_dict()), pixels)
    with torch.inference_mode():
        maps = published.avgpool(published.features(pixels)).flatten(1)
        fc1, relu1, drop1, fc2, relu2, *_ = published.classifier
        expected = relu2(fc2(drop1(relu1(fc1(maps)))))
    assert images.shape == (2, 4096)
    assert 0.2 < (expected == 0).float().mean() < 0.8, "after the ReLU"
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-5 * float(expected.max()))


def test_timms_file_gives_its_pre_logits(published: Any, pixels: torch.Tensor) -> None:
    state = timm_names(published.state_dict())
    with torch.device("meta"):
        model: Any = timm.create_model("vgg16", pretrained=False)
    model.load_state_dict(state, assign=True)
    model.eval()
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(pixels), pre_logits=True)
    images = embedding(Vgg16Network(SPEC, state), pixels)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-5 * float(expected.max()))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"features.0.weight": None}, "lacks 'features.0.weight'"),
        ({"classifier.0.weight": torch.zeros(9, 9)}, "has another shape for 'pre_logits.fc1.we"),
        ({"features.1.weight": torch.zeros(64)}, "has the unknown weight 'features.1.weight'"),
    ],
)
def test_other_networks_file_is_refused(
    published: Any, changes: dict[str, torch.Tensor | None], fault: str
) -> None:
    """The last is a VGG16 with batch normalisation."""
    state = {k: v for k, v in (published.state_dict() | changes).items() if v is not None}
    with pytest.raises(BackboneError) as caught, torch.device("meta"):
        Vgg16Network(SPEC, state)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)
