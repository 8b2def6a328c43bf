"""What the commands that show vecspect hand on: to the server of the app, to the demo."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from streamlit.web import bootstrap

from tests.ui.cli.running import Vecspect, only_line


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Scripts and options that the server was started with."""
    started: list[tuple[str, dict[str, Any]]] = []
    for name in ("VECSPECT_STORE", "VECSPECT_IMAGE_ROOTS"):
        monkeypatch.setenv(name, "")  # so that what the command sets ends with the test
        monkeypatch.delenv(name)
    monkeypatch.setattr(bootstrap, "load_config_options", lambda options: None)
    monkeypatch.setattr(
        bootstrap, "run", lambda app, hello, args, options: started.append((app, options))
    )
    return started


def test_app_is_served_on_the_store_and_folders_that_were_given(
    run_command: Vecspect, served: list[tuple[str, dict[str, Any]]]
) -> None:
    ended = run_command("ui", "--store", "s", "--images", "a", "--images", "b", "--port", 9000)
    assert (ended.code, ended.err) == (0, [])
    ((script, given),) = served
    assert Path(script).is_file()
    assert (given["server_address"], given["server_port"]) == ("localhost", 9000)
    assert os.environ["VECSPECT_STORE"] == "s"
    assert json.loads(os.environ["VECSPECT_IMAGE_ROOTS"]) == ["a", "b"]


def test_app_open_to_other_machines_without_a_password_is_warned_of(
    run_command: Vecspect,
    served: list[tuple[str, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "VECSPECT_UI_PASSWORD" in run_command("ui", "--host", "0.0.0.0").err[0]
    monkeypatch.setenv("VECSPECT_UI_PASSWORD", "x")
    assert run_command("ui", "--host", "0.0.0.0").err == []
    assert len(served) == 2


def test_missing_streamlit_is_named_with_the_extra(
    run_command: Vecspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "streamlit.web", None)
    assert "pip install '.[ui]'" in only_line(run_command("ui"))


def test_demo_is_made_in_the_folder_that_was_given(
    run_command: Vecspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr("ui.cli.demo.run_demo", lambda out, on_progress: asked.append(out))
    assert run_command("demo", "--out", "there").code == 0
    assert run_command("demo").code == 0
    assert asked == [Path("there"), Path("demo_out")]
