from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backbones.base import BackboneSpec
from backbones.errors import BackboneError
from backbones.model_card import (
    FORMAT,
    Card,
    read_card,
    sha256_of_network,
    spec_from_dict,
    spec_to_dict,
)
from backbones.specs import SPECS
from tests.backbones.tiny import TINY

WIDE = replace(TINY, input_size=(64, 96))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the card of a tiny network."""
    Card(TINY, "weights", "f32", "network").write(tmp_path / "network.json")
    return tmp_path


def test_card_says_in_words_what_whoever_runs_the_network_must_do(folder: Path) -> None:
    card = json.loads((folder / "network.json").read_text())
    assert "64 x 64" in card["preprocessing"]
    assert card["outputs"] == ("patches float32 (N, 8, 8, 10), images float32 (N, 10)")
    assert card["weights_sha256"] == "weights"
    assert set(card["versions"]) == {"vecspect", "openvino"}


def test_card_of_a_wide_input_tells_height_and_width_apart(tmp_path: Path) -> None:
    cropped = replace(WIDE, crop=(48, 64))
    Card(cropped, "weights", "f32", "network").write(tmp_path / "network.json")
    card = json.loads((tmp_path / "network.json").read_text())
    assert "64 x 96 pixels (height x width), centre 48 x 64 of it" in card["preprocessing"]
    assert "uint8 (N, 48, 64, 3)" in card["preprocessing"]
    assert card["outputs"].startswith("patches float32 (N, 6, 8, 10)")
    assert (card["spec"]["input_size"], card["spec"]["crop"]) == ([64, 96], [48, 64])


@pytest.mark.parametrize("precision", ["f32", "int8"])
@pytest.mark.parametrize("spec", [*SPECS, WIDE], ids=lambda spec: f"{spec.name} {spec.input_size}")
def test_card_is_read_as_it_was_written(tmp_path: Path, spec: BackboneSpec, precision: Any) -> None:
    card = Card(spec, "weights", precision, "network")
    card.write(tmp_path / "network.json")
    assert read_card(tmp_path / "network.json") == card


def test_spec_in_json_is_the_spec_again() -> None:
    values = json.loads(json.dumps(spec_to_dict(WIDE)))
    assert spec_from_dict(values) == WIDE
    with pytest.raises(ValueError, match="unknown field 'rotate' in the spec"):
        spec_from_dict(values | {"rotate": 90})


@pytest.mark.parametrize(
    "changes", [{"format": FORMAT - 1}, {"format": FORMAT + 1}, {"spec": {"name": "x"}}]
)
def test_card_of_another_format_or_without_a_spec_is_one_line(
    folder: Path, changes: dict[str, Any]
) -> None:
    file = folder / "network.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(
        BackboneError, match=r"cannot be used: .* Export the network again"
    ) as caught:
        read_card(file)
    assert "\n" not in str(caught.value)


def test_digest_of_a_network_changes_with_either_file(tmp_path: Path) -> None:
    network = tmp_path / "network.xml"
    digests = set()
    for xml, weights in (("a", "b"), ("a", "c"), ("d", "b")):
        network.write_text(xml)
        network.with_suffix(".bin").write_text(weights)
        digests.add(sha256_of_network(network))
    assert len(digests) == 3
