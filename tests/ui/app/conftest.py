"""A world for the app: a store of its own, image roots, and pages run without a browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from indexer.store.edge_files import copy_store
from tests.ui.app.driving import serving
from ui.app.session import Session, app_state
from ui.settings import load_settings


@pytest.fixture
def app_settings(
    learnt_copy: Callable[[str], Path],
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Environment of an app on a learnt store; the folder it runs in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QDRANT_URL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("VECSPECT_STORE", str(learnt_copy("app")))
    monkeypatch.setenv("VECSPECT_IMAGE_ROOTS", json.dumps([str(tmp_path), str(dataset)]))
    return tmp_path


@pytest.fixture(scope="module")
def shared_app(
    learnt_folder: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """Address of an app that the tests of a module share, and the folder it runs in."""
    folder = tmp_path_factory.mktemp("shared")
    environment = {
        "VECSPECT_STORE": str(copy_store(learnt_folder, folder / "store")),
        "VECSPECT_IMAGE_ROOTS": json.dumps([str(folder), str(dataset)]),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    with serving(folder, environment) as address:
        yield address, folder


@pytest.fixture
def open_page(app_settings: Path) -> Iterator[Callable[..., AppTest]]:
    """A function that runs a page with an address."""
    app_state.clear()

    def run(name: str, **query: str) -> AppTest:
        page = AppTest.from_string(
            f"from ui.app.layout import show_page\nshow_page({name!r})", default_timeout=60
        )
        for key, value in query.items():
            page.query_params[key] = value
        page.run()
        assert not page.exception, page.exception
        return page

    yield run
    session = app_state().session
    if session is not None:
        session.close()
    app_state.clear()


@pytest.fixture
def session(app_settings: Path) -> Iterator[Session]:
    opened = Session(load_settings())
    yield opened
    opened.close()
