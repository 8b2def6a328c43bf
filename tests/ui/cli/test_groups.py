"""Commands are loaded when they are called: help and usage errors import nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ui.cli.running import COMMANDS, MAIN, Vecspect, environment, found_command, process
from ui.cli import table

HEAVY = (
    "torch", "openvino", "numpy", "scipy", "sklearn", "matplotlib", "numba", "PIL",
    "streamlit", "qdrant_client", "qdrant_edge", "rich", "jinja2",
)  # fmt: skip
HELP_AND_USAGE = """
import json, sys
from ui.cli.entry import main
commands, heavy = json.loads(sys.argv[1])
for names in commands:
    for asked, code in (("--help", 0), ("--no-such-option", 2)):
        sys.argv[1:] = [*names, asked]
        try:
            main()
        except SystemExit as end:
            assert end.code == code, (names, end.code)
        loaded = sorted(set(heavy) & set(sys.modules))
        assert not loaded, (names, asked, loaded)
"""


def test_help_and_usage_errors_of_every_command_load_nothing_heavy(tmp_path: Path) -> None:
    commands = [[], *COMMANDS]
    ended = process(json.dumps([commands, HEAVY]), cwd=tmp_path, program=HELP_AND_USAGE)
    assert ended.code == 0, ended.err[-1]
    assert " ".join(ended.err).count("No such option") == len(commands)


def test_list_of_commands_loads_no_command(tmp_path: Path) -> None:
    said = "\nimport sys\nprint(*[name for name in sys.modules if name.startswith('ui.cli.c')])"
    program = f"try:\n    {MAIN}\nexcept SystemExit:{said.replace(chr(10), chr(10) + '    ')}"
    ended = process("--help", cwd=tmp_path, program=program)
    assert ended.out[-1].split() == ["ui.cli.console"]


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_line_of_help_tells_of_a_command_that_there_is(names: tuple[str, ...]) -> None:
    assert found_command(*names).help


def test_lines_of_help_fit_the_terminal() -> None:
    for panels in (table.COMMANDS, table.STUDIES):
        for listed in (listed for panel in panels.values() for listed in panel.values()):
            assert len(listed.help) <= 64
            assert listed.help.endswith(".")


def test_unknown_command_is_refused_with_the_nearest(vecspect: Vecspect) -> None:
    assert "Did you mean 'score'?" in " ".join(vecspect("scor").err)
    assert "Did you mean 'updates'?" in " ".join(vecspect("study", "update").err)


def test_version_is_told(vecspect: Vecspect) -> None:
    ended = vecspect("--version")
    assert ended.code == 0
    assert ended.out[0].startswith("vecspect ")


def test_shell_completes_commands_and_options(tmp_path: Path) -> None:
    def completed(words: str) -> list[str]:
        asked = {
            "_VECSPECT_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        }
        return subprocess.run(
            [sys.executable, "-c", MAIN],
            cwd=tmp_path,
            env=environment(**asked),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()

    assert completed("vecspect sc") == ["score"]
    assert completed("vecspect study c") == ["calibration"]
    assert completed("vecspect index --cal") == ["--calibration"]
