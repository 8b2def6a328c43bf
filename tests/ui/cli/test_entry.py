"""The command line from outside: usage, failures, help, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from indexer.catalog.commits import commit, find_category
from indexer.store.open import open_store
from tests.ui.cli.running import (
    COMMANDS,
    MAIN,
    Shop,
    Vecspect,
    environment,
    found_command,
    only_line,
    process,
    queries_below,
)

TORCH_BLOCKED = """
import json, sys
for name in ("torch", "timm", "torchvision", "huggingface_hub"):
    sys.modules[name] = None
from ui.cli.entry import main
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        assert not end.code, arguments
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["score"], "PATH"),
        (["score", "a.png"], "--category"),
        (["score", "a.png", "-c", "grid", "--jsn"], "--jsn"),
        (["similar", "a.png", "-c", "grid", "--top", "0"], "--top"),
        (["similar", "a.png", "-c", "grid", "--top", "many"], "--top"),
        (["similar", "a.png", "-c", "grid", "--label", "bad"], "normal or defective"),
        (["index", "data", "-c", "grid", "--coreset", "little"], "--coreset"),
        (["benchmark", "data", "--weights", "file.pth"], "NAME=FILE"),
        (["scor"], "scor"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_what_is_wrong(
    vecspect: Vecspect, arguments: list[str], said: str
) -> None:
    ended = vecspect(*arguments)
    assert ended.code == 2
    assert ended.out == []
    assert said in " ".join(ended.err)
    assert "Traceback" not in " ".join(ended.err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["score", "IMAGE", "-c", "gird"], "no category 'gird' .*known: grid"),
        (["similar", "IMAGE", "-c", "gird"], "no category 'gird' .*known: grid"),
        (["score", "IMAGE", "-c", "grid", "--backbone", "vgg"], "indexed with compact.*not 'vgg'"),
        (["score", "IMAGE", "-c", "grid", "--weights", "gone.pth"], "no weight file at gone.pth"),
        (["score", "nowhere/*.png", "-c", "grid"], "expected images at nowhere/"),
        (["score", ".", "-c", "grid"], "expected images at ., got none"),
        (["similar", "gone.png", "-c", "grid"], "gone.png: there is no such file"),
        (["index", "gone", "-c", "grid"], "there is nothing at gone"),
        (["index", "DATASET", "-c", "a b"], "'a b' is not a category name"),
        (["index", "DATASET", "-c", "grid", "--coreset", "2"], "--coreset is a share"),
        (["index", "DATASET", "-c", "grid", "--holdout", "0"], "--holdout is a share"),
        (["index", "DATASET", "-c", "grid", "--reject", "0.01"], "--reject 0.01 needs at least 99"),
        (["index", "DATASET", "-c", "g", "--backbone", "compct"], "Did you mean 'compact'"),
        (["index", "DATASET", "-c", "g", "--precision", "f16"], "'precision' cannot be 'f16'"),
        (["index", "DATASET", "-c", "g", "--store", "ftp://x"], "expected a folder, http"),
        (["benchmark", "gone"], "there is nothing at gone"),
        (["status", "--store", "gone"], "no store at gone"),
        (["score", "IMAGE", "-c", "grid", "--store", "gone"], "no store at gone"),
    ],
)
def test_failure_is_explained_in_one_line(
    vecspect: Vecspect, dataset: Path, arguments: list[str], said: str
) -> None:
    named = {"IMAGE": queries_below(dataset)[0], "DATASET": str(dataset)}
    ended = vecspect(*(named.get(argument, argument) for argument in arguments))
    assert re.search(said, only_line(ended))
    assert not Path("gone").exists(), "a command that only reads made a store"


def test_category_of_another_network_is_refused_in_one_line(
    vecspect: Vecspect, learnt_copy: Callable[[str], Path], dataset: Path
) -> None:
    folder = learnt_copy("other")
    with open_store(str(folder)) as store:
        category = find_category(store, "grid")
        commit(category.following("test", "", fingerprint="0123456789abcdef"))
    for command in ("score", "similar"):
        ended = vecspect(command, queries_below(dataset)[0], "-c", "grid", "--store", folder)
        line = only_line(ended)
        assert "0123456789abcdef" in line
        assert category.entry.fingerprint in line


def test_store_in_use_by_another_process_is_explained_in_one_line(
    learnt_copy: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = learnt_copy("held")
    with open_store(str(folder)):
        line = only_line(process("status", "--store", folder, cwd=tmp_path))
    assert f"is held by process {os.getpid()}" in line


def test_unknown_setting_in_the_file_is_explained_in_one_line(vecspect: Vecspect) -> None:
    Path("qdrant.yaml").write_text("stroe: here\n")
    assert "unknown setting 'stroe' in qdrant.yaml" in only_line(vecspect("status"))


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_help_of_every_command_names_all_its_options(
    vecspect: Vecspect, names: tuple[str, ...]
) -> None:
    command = found_command(*names)
    ended = vecspect(*names, "--help")
    assert ended.code == 0
    text = " ".join(" ".join(ended.out).split())
    assert command.help
    assert command.help.splitlines()[0] in text
    for parameter in command.params:
        named = parameter.opts if parameter.opts[0].startswith("-") else [parameter.metavar]
        assert all(option in text for option in named), parameter.name


def test_help_lists_every_command(vecspect: Vecspect) -> None:
    ended = vecspect("--help")
    assert ended.code == 0
    text = "\n".join(ended.out)
    for (command,) in (names for names in COMMANDS if len(names) == 1):
        assert re.search(rf"^ +{command} ", text, re.MULTILINE), command
    heads = [line.rstrip(":") for line in ended.out if re.fullmatch(r"[A-Z].*:", line)]
    assert heads == ["Options", "Learn and score", "Look up", "Keep current", "Measure"]
    assert max(map(len, ended.out)) <= 80


def test_bundled_network_needs_no_torch(dataset: Path, tmp_path: Path) -> None:
    small = tmp_path / "normal"
    small.mkdir()
    for name in ("000.png", "001.png", "002.png"):
        shutil.copy(dataset / "train/good" / name, small)
    image = str(small / "000.png")
    commands = [
        ["index", str(small), "-c", "grid", "--coreset", "0.02"],
        ["score", image, "-c", "grid", "--maps", "maps"],
        ["similar", image, "-c", "grid"],
        ["status"],
    ]
    ended = process(json.dumps(commands), cwd=tmp_path, program=TORCH_BLOCKED)
    assert (ended.code, ended.err) == (0, [])


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no such signal here")
def test_reader_that_goes_away_ends_the_command_without_a_word(shop: Shop) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `| head -1` does once it has its line
    with os.fdopen(writer, "wb") as closed:
        ended = subprocess.run(
            [sys.executable, "-c", MAIN, "status", "--json"],
            cwd=shop.folder,
            env=environment(),
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert ended.returncode == -signal.SIGPIPE
    assert ended.stderr == b""
