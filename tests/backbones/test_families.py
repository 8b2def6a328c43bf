from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from backbones.families import FAMILIES, Family
from backbones.specs import SPECS, find_spec

ROOT = Path(__file__).parents[3]


def test_every_family_has_networks_and_every_network_a_family() -> None:
    assert {spec.family for spec in SPECS} == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_module_of_a_family_builds_it(family: Family) -> None:
    assert callable(importlib.import_module(f"backbones.networks.{family.module}").build)


def test_spec_has_the_level_the_border_and_the_normalisation_of_its_family() -> None:
    for spec in SPECS:
        family = FAMILIES[spec.family]
        assert (spec.level, spec.normalised) == (family.level, family.normalised)
        unpadded = replace(spec, padding=False)
        assert unpadded.inset == (family.border, family.border)
    assert find_spec("vgg16").level == "image"
    assert find_spec("efficientad-small").normalised


def test_table_is_read_without_torch() -> None:
    code = "import sys, backbones.specs; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
