"""The settings that hold, and where they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.ui.cli.running import Ended, Vecspect, only_line, strict_json
from ui.settings import AppSettings


def shown(ended: Ended) -> dict[str, Any]:
    assert (ended.code, ended.err) == (0, [])
    return dict(strict_json("\n".join(ended.out)))


def test_every_setting_is_shown_with_what_it_comes_from(
    run_command: Vecspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("qdrant.yaml").write_text("seed: 3\nholdout: 0.3\ncoreset: 0.3\n")
    monkeypatch.setenv("VECSPECT_CORESET", "0.4")
    monkeypatch.setenv("VECSPECT_HOLDOUT", "0.4")
    monkeypatch.setenv("QDRANT_URL", "http://qdrant:6333")
    told = shown(run_command("config", "--holdout", 0.5, "--no-padding", "--json"))
    assert list(told) == list(AppSettings.model_fields)
    assert told["backbone"] == {"value": "compact", "from": "default"}
    assert told["seed"] == {"value": 3, "from": str(Path("qdrant.yaml").resolve())}
    assert told["coreset"] == {"value": 0.4, "from": "VECSPECT_CORESET"}
    assert told["holdout"] == {"value": 0.5, "from": "flag"}
    assert told["padding"] == {"value": False, "from": "flag"}
    assert told["store"] == {"value": "http://qdrant:6333", "from": "QDRANT_URL"}


def test_settings_are_a_table_without_json(run_command: Vecspect) -> None:
    ended = run_command("config", "--seed", 7)
    assert ended.code == 0
    rows = {line.split()[0]: line.split()[1:] for line in ended.out}
    assert rows["setting"] == ["value", "from"]
    assert rows["seed"] == ["7", "flag"]
    assert rows["weights"] == ["default"]


def test_secrets_are_masked(run_command: Vecspect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "hush-hush")
    monkeypatch.setenv("VECSPECT_UI_PASSWORD", "hush-hush")
    for flags in ((), ("--json",)):
        text = "\n".join(run_command("config", *flags).out)
        assert "hush" not in text
        assert text.count("**********") == 2
        assert "QDRANT_API_KEY" in text


def test_file_named_before_the_command_takes_the_place_of_qdrant_yaml(
    run_command: Vecspect,
) -> None:
    Path("qdrant.yaml").write_text("services:\n  qdrant:\n    image: qdrant/qdrant\n")
    Path("mine.yaml").write_text("seed: 3\n")
    told = shown(run_command("--config", "mine.yaml", "config", "--json"))
    assert told["seed"] == {"value": 3, "from": str(Path("mine.yaml").resolve())}
    assert "no settings file at gone.yaml" in only_line(
        run_command("--config", "gone.yaml", "config")
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("services:\n  qdrant:\n    image: qdrant/qdrant\n", "is a Docker Compose file"),
        ("version: '3'\nservices:\n  qdrant: {}\n", "is a Docker Compose file"),
        ("log_level: INFO\nstorage:\n  storage_path: ./x\n", "configuration of a Qdrant server"),
        ("image: qdrant\nreplicas: 3\n", "unknown setting 'image'"),
    ],
)
def test_foreign_qdrant_yaml_is_told_with_the_way_out(
    run_command: Vecspect, content: str, said: str
) -> None:
    Path("qdrant.yaml").write_text(content)
    line = only_line(run_command("status"))
    assert said in line
    assert "vecspect --config FILE" in line
    Path("empty.yaml").touch()
    assert run_command("--config", "empty.yaml", "config").code == 0


@pytest.mark.parametrize("address", ["localhost:6333", "qdrant.factory.local:6333", "[::1]:6333"])
@pytest.mark.parametrize("variable", [None, "QDRANT_URL"])
def test_address_without_http_makes_no_folder(
    run_command: Vecspect,
    dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    variable: str | None,
) -> None:
    if variable:
        monkeypatch.setenv(variable, address)
    flags = () if variable else ("--store", address)
    line = only_line(run_command("index", dataset, "-c", "grid", *flags))
    assert f"http://{address}" in line
    assert list(Path().iterdir()) == []


def test_store_in_memory_is_refused_as_it_would_be_forgotten(
    run_command: Vecspect, dataset: Path
) -> None:
    line = only_line(run_command("index", dataset, "-c", "grid", "--store", ":memory:"))
    assert "lost when the command ends" in line


def test_scheme_of_a_server_may_be_in_capitals(run_command: Vecspect) -> None:
    line = only_line(run_command("status", "--store", "HTTP://127.0.0.1:9"))
    assert line.startswith("vecspect: no answer from Qdrant server http://127.0.0.1:9")
