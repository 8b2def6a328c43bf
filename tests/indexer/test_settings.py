"""Settings: the command line beats the environment, the environment beats the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from indexer.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in and an environment without settings."""
    for name in [n for n in os.environ if n.upper().startswith(("VECSPECT_", "QDRANT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str) -> None:
    (folder / "qdrant.yaml").write_text(text, encoding="utf-8")


def error_of(folder: Path, text: str) -> str:
    write(folder, text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_without_any_word_the_defaults_hold() -> None:
    settings = load_settings()
    assert (settings.store, settings.backbone) == ("qdrant_data", "compact")
    assert (settings.coreset, settings.holdout, settings.seed) == (0.1, 0.2, 0)
    assert (settings.alpha_reject, settings.alpha_review, settings.api_key) == (None, None, None)


@pytest.mark.parametrize("variable", ["QDRANT_URL", "VECSPECT_STORE"])
def test_store_comes_from_the_file_then_the_environment_then_the_flag(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    write(folder, "store: from file\n")
    assert load_settings().store == "from file"
    monkeypatch.setenv(variable, "http://from-environment:6333")
    assert load_settings().store == "http://from-environment:6333"
    assert load_settings(store="from flag").store == "from flag"
    assert load_settings(store=None).store == "http://from-environment:6333"


@pytest.mark.parametrize(
    ("name", "value", "other", "flag"),
    [
        ("coreset", 0.3, 0.4, 0.5),
        ("holdout", 0.3, 0.4, 0.5),
        ("seed", 3, 4, 5),
        ("alpha_reject", 0.03, 0.04, 0.05),
        ("alpha_review", 0.3, 0.4, 0.5),
    ],
)
def test_number_comes_from_the_file_then_the_environment_then_the_flag(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: float,
    other: float,
    flag: float,
) -> None:
    write(folder, f"{name}: {value}\n")
    assert getattr(load_settings(), name) == value
    monkeypatch.setenv(f"VECSPECT_{name.upper()}", str(other))
    assert getattr(load_settings(), name) == other
    assert getattr(load_settings(**{name: flag}), name) == flag


def test_zero_and_false_given_as_flags_count_as_given(folder: Path) -> None:
    write(folder, "seed: 3\nprefer_grpc: true\n")
    settings = load_settings(seed=0, prefer_grpc=False)
    assert (settings.seed, settings.prefer_grpc) == (0, False)


def test_empty_file_changes_nothing(folder: Path) -> None:
    defaults = load_settings()
    write(folder, "# nothing yet\n")
    assert load_settings() == defaults


def test_unknown_key_of_the_file_is_named_beside_the_known_ones(folder: Path) -> None:
    message = error_of(folder, "corset: 0.2\n")
    assert message.startswith("unknown setting 'corset' in qdrant.yaml. Known: ")
    assert all(name in message for name in Settings.model_fields)


def test_unknown_variable_is_named_beside_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECSPECT_CORSET", "0.2")
    with pytest.raises(
        SettingsError, match=r"^unknown environment variable VECSPECT_CORSET"
    ) as caught:
        load_settings()
    assert "VECSPECT_CORESET" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_variable_of_the_cache_folder_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = load_settings()
    monkeypatch.setenv("VECSPECT_CACHE", "/somewhere")
    assert load_settings() == defaults


@pytest.mark.parametrize(
    "text",
    ["store: [unclosed\n", "\tstore: tab\n", "just text\n", "- a\n- list\n", "store: a: b\n", "\0"],
)
def test_file_that_is_no_yaml_mapping_is_named(folder: Path, text: str) -> None:
    assert error_of(folder, text).startswith("qdrant.yaml cannot be read: ")


@pytest.mark.parametrize(
    ("text", "name", "came"),
    [
        ("coreset: many\n", "coreset", "'many'"),
        ("seed: 1.5\n", "seed", "1.5"),
        ("seed: [1]\n", "seed", r"\[1\]"),
        ("precision: f16\n", "precision", "'f16'"),
        ("prefer_grpc: perhaps\n", "prefer_grpc", "'perhaps'"),
    ],
)
def test_value_of_the_wrong_kind_is_named_with_its_setting(
    folder: Path, text: str, name: str, came: str
) -> None:
    write(folder, text)
    with pytest.raises(SettingsError, match=f"^setting '{name}' cannot be {came}: Input should be"):
        load_settings()


def test_wrong_value_in_the_environment_is_named_with_its_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VECSPECT_SEED", "seven")
    with pytest.raises(SettingsError, match=r"seed.* cannot be 'seven'.*from VECSPECT_SEED"):
        load_settings()


@pytest.mark.parametrize("variable", ["QDRANT_API_KEY", "VECSPECT_API_KEY"])
def test_api_key_is_kept_and_never_printed(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "hush-hush")
    settings = load_settings()
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "hush-hush"
    assert "hush" not in f"{settings!r} {settings} {settings.model_dump()} {settings.api_key}"


def test_api_key_of_the_wrong_kind_is_not_printed_either(folder: Path) -> None:
    message = error_of(folder, "api_key: 123456789\n")
    assert message.startswith("setting 'api_key' cannot be ")
    assert "123456789" not in message


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().seed = 1


def test_variables_of_other_programs_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE", "elsewhere")
    monkeypatch.setenv("API_KEY", "of another")
    settings = load_settings()
    assert (settings.store, settings.api_key) == ("qdrant_data", None)


def test_variable_of_vecspect_is_stronger_than_that_of_qdrant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QDRANT_URL", "http://one:6333")
    monkeypatch.setenv("VECSPECT_STORE", "http://two:6333")
    assert load_settings().store == "http://two:6333"


def test_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_URL", "")
    monkeypatch.setenv("VECSPECT_SEED", "")
    assert load_settings() == load_settings(store="qdrant_data", seed=0)


def test_settings_file_is_the_one_that_the_environment_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "seed: 3\n")
    (folder / "mine.yaml").write_text("seed: 4\n")
    monkeypatch.setenv("VECSPECT_CONFIG", "mine.yaml")
    assert load_settings().seed == 4
    monkeypatch.setenv("VECSPECT_CONFIG", "gone.yaml")
    with pytest.raises(SettingsError, match=r"no settings file at gone\.yaml"):
        load_settings()
