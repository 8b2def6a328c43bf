"""Options that commands share: how Typer sees them, what they turn into, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ui.cli import options

Given = list[tuple[object, ...]]


@pytest.fixture
def given() -> Given:
    return []


@pytest.fixture
def app(given: Given) -> typer.Typer:
    """A command with a group of options between two of its own."""
    made = typer.Typer()

    @options.grouped
    def learn(
        dataset: Path,
        first: int = 1,
        *,
        learning: options.LearningOptions,
        last: bool = False,
    ) -> None:
        """Learn."""
        given.append((dataset, first, learning, last))

    made.command()(learn)
    return made


def test_group_of_options_is_spread_on_the_command_line_and_given_as_one_value(
    app: typer.Typer, given: Given
) -> None:
    ended = CliRunner().invoke(app, ["data", "--seed", "3", "--coreset", "0.5", "--last"])
    assert ended.exit_code == 0, ended.output
    learning = options.LearningOptions(0.5, None, 3, None, None)
    assert given == [(Path("data"), 1, learning, True)]


def test_options_stand_in_the_order_of_the_signature(app: typer.Typer) -> None:
    names = [parameter.name for parameter in typer.main.get_command(app).params]
    inside = ["coreset", "holdout", "seed", "reject", "review"]
    assert [n for n in names if n in {"dataset", "first", *inside, "last"}] == [
        "dataset", "first", *inside, "last"
    ]  # fmt: skip


def test_levels_and_padding_are_settings_under_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = options.settings_of(reject=0.1, review=0.2, no_padding=True, seed=None)
    assert (settings.alpha_reject, settings.alpha_review, settings.padding) == (0.1, 0.2, False)
    assert options.settings_of().padding is None


def test_name_that_is_not_known_is_refused_with_those_that_are() -> None:
    assert options.one_of("b", ("a", "b"), "--x") == "b"
    with pytest.raises(typer.BadParameter, match="expected a, b or c, got 'd'"):
        options.one_of("d", ("a", "b", "c"), "--x")
    assert options.calibration_of(None) is None
    assert options.calibration_of("sigma") == "sigma"
    with pytest.raises(typer.BadParameter, match=r"expected one of conformal, .*, got 'guess'"):
        options.calibration_of("guess")


def test_pairs_are_split_at_the_first_equals_sign() -> None:
    assert options.pairs_of(["a=1", "b=", "c=x=y"], "--set") == {"a": "1", "b": "", "c": "x=y"}
    assert options.pairs_of(None, "--set") == {}
    for wrong in ("a", "=1", ""):
        with pytest.raises(typer.BadParameter, match="expected KEY=VALUE"):
            options.pairs_of([wrong], "--set")
    assert options.weights_by_name(["net=file.pth"]) == {"net": Path("file.pth")}
    with pytest.raises(typer.BadParameter, match="expected NAME=FILE, for example"):
        options.weights_by_name(["net="])
