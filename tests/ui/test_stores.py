"""What the settings open: a store, a category of it, and nothing that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from backbones.errors import VecspectError
from indexer.catalog.collections import read_images
from indexer.catalog.commits import find_category, read_catalog
from indexer.catalog.entry import CategoryError
from indexer.store.base import VectorStore
from indexer.update.removal import remove_images
from search.inspector import Inspector
from ui.cli.options import ScoringOptions
from ui.settings import load_settings
from ui.stores import make_store, open_category, open_configured, open_existing, open_inspector


def test_mistyped_folder_is_named_and_not_made(tmp_path: Path) -> None:
    settings = load_settings(store=str(tmp_path / "stroe"))
    with pytest.raises(VecspectError, match=r"no store at .*stroe"):
        open_existing(settings)
    assert not (tmp_path / "stroe").exists()
    open_configured(settings).close()
    with open_existing(settings) as store:
        assert Path(store.location) == tmp_path / "stroe"


def test_address_without_a_scheme_is_no_folder_that_is_missing() -> None:
    with pytest.raises(VecspectError, match=r"a Qdrant server is http://localhost:6333"):
        open_existing(load_settings(store="localhost:6333"))


def test_category_is_opened_by_name_and_closed_afterwards(learnt: VectorStore) -> None:
    location = learnt.location
    learnt.close()
    with open_category("grid", store=location) as category:
        assert (category.name, category.backbone) == ("grid", "compact")
        assert find_category(category.store, "grid").entry == category.entry
    with pytest.raises(CategoryError, match="known: grid"), open_category("x", store=location):
        pass
    with open_inspector("grid", "compact", store=location) as inspector:
        assert inspector.entry.revision == 1


def test_change_of_a_category_keeps_how_it_is_calibrated(learnt: VectorStore) -> None:
    category = find_category(learnt, "grid")
    entry = category.entry
    bank = next(k for k, i in read_images(category).items() if i.split == "bank")
    change = remove_images([bank], category=category)
    assert (change.images, change.entry.revision) == ((bank,), 2)
    assert change.entry.calibration["method"] == entry.calibration["method"]
    network = ScoringOptions(None, None, None, None).network(category)
    assert network.fingerprint == entry.fingerprint
    assert Inspector(learnt, "grid", network=network).entry == change.entry


def test_a_store_is_made_empty_where_the_settings_say(tmp_path: Path) -> None:
    settings = load_settings(store=str(tmp_path / "made" / "here"))
    assert make_store(settings) == tmp_path / "made" / "here"
    with open_existing(settings) as store:
        assert read_catalog(store) == []
