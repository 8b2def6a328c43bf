from __future__ import annotations

import pytest

from backbones.base import BackboneSpec
from backbones.specs import SPECS, find_spec
from tests.backbones.conftest import refusal


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_name_finds_its_spec(spec: BackboneSpec) -> None:
    assert find_spec(spec.name) is spec


def test_no_two_specs_share_a_name() -> None:
    assert len({spec.name for spec in SPECS}) == len(SPECS)


def test_weights_of_the_hub_have_a_tag_and_others_none() -> None:
    for spec in SPECS:
        assert bool(spec.hub_tag) == (spec.weights == "hub"), spec.name


def test_unknown_name_is_refused_with_the_known_ones_and_the_nearest() -> None:
    message = refusal("patchcore-resnet-18")
    assert message.startswith("unknown backbone 'patchcore-resnet-18'. Known: compact, ")
    assert all(spec.name in message for spec in SPECS)
    assert message.endswith("Did you mean 'patchcore-resnet18'?")
    assert "Did you mean" not in refusal("zzz")
