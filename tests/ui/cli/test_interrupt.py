"""Ctrl-C, sent to commands in processes of their own."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ui.cli.running import MAIN, environment, process, queries_below, strict_json
from ui.cli.interrupt import INTERRUPTED

LINE = "vecspect: interrupted; run the same command again to finish."
PROMISED, SLACK = 1.0, 1.0  # seconds; the slack is for a machine that others use too
IMAGES = 120
BUSY_MAIN = """
import hashlib
from ui.cli.interrupt import ends_on_interrupt
with ends_on_interrupt():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"word", b"salt", 1_000_000_000)  # minutes, no handler runs
"""
BUSY_POOL = """
import hashlib
from concurrent.futures import ThreadPoolExecutor
from ui.cli.interrupt import ends_on_interrupt
with ends_on_interrupt():
    with ThreadPoolExecutor() as pool:
        pool.submit(hashlib.pbkdf2_hmac, "sha256", b"word", b"salt", 1_000_000_000)
        print("ready", flush=True)
"""
SLOW_TO_CLOSE = """
from ui.cli.interrupt import ends_on_interrupt
with ends_on_interrupt():
    try:
        print("ready", flush=True)
        while True:
            pass
    finally:
        try:
            print("closing", flush=True)
            while True:
                pass
        finally:
            print("closing was cut short", flush=True)
"""
IGNORED = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from ui.cli.interrupt import ends_on_interrupt
with ends_on_interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    print("done")
"""


@contextlib.contextmanager
def started(*arguments: object, cwd: Path, program: str = MAIN) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def wait_until(true: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert running.poll() is None, f"ended before: {running.communicate()}"
        assert time.monotonic() < end
        time.sleep(0.005)


def interrupt(running: subprocess.Popen[str]) -> str:
    """Press Ctrl-C; what the command printed until it ended, as it has to."""
    began = time.monotonic()
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    took = time.monotonic() - began
    assert (running.returncode, err.splitlines()) == (INTERRUPTED, [LINE])
    assert took < PROMISED + SLACK
    return out


def test_interrupted_index_is_finished_by_the_same_command(dataset: Path, tmp_path: Path) -> None:
    command = ("index", dataset, "-c", "grid", "--coreset", "0.02")
    with started(*command, cwd=tmp_path) as running:
        wait_until((tmp_path / "qdrant_data").is_dir, running)
        assert interrupt(running) == ""
    again = process(*command, cwd=tmp_path)
    assert (again.code, again.err) == (0, [])
    (category,) = strict_json("\n".join(process("status", "--json", cwd=tmp_path).out))[
        "categories"
    ]
    assert category["revision"] == 1


def test_interrupted_score_keeps_the_rows_it_has_and_is_finished_by_the_same_command(
    learnt_copy: Callable[[str], Path], dataset: Path, tmp_path: Path
) -> None:
    images, queries = tmp_path / "images", queries_below(dataset)
    images.mkdir()
    for number in range(IMAGES):
        shutil.copy(queries[number % len(queries)], images / f"{number:03}.png")
    store = learnt_copy("scored")
    command = ("score", images, "-c", "grid", "--store", store, "--csv", "rows.csv")
    partial, whole = tmp_path / "rows.csv.partial", tmp_path / "rows.csv"
    with started(*command, cwd=tmp_path) as running:
        wait_until(lambda: partial.exists() and len(lines_of(partial)) > 2, running)
        assert interrupt(running) == ""
    kept = lines_of(partial)
    assert 2 < len(kept) < IMAGES + 1
    assert not whole.exists()
    again = process(*command, cwd=tmp_path)
    assert (again.code, again.err) == (0, [])
    rows = lines_of(whole)
    assert len(rows) == IMAGES + 1
    assert rows[: len(kept) - 1] == kept[:-1], "the last may be cut short"
    assert not partial.exists()


def lines_of(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("program", [BUSY_MAIN, BUSY_POOL], ids=["main thread", "pool"])
def test_work_that_no_handler_can_stop_is_ended(program: str, tmp_path: Path) -> None:
    with started(cwd=tmp_path, program=program) as running:
        assert running.stdout
        assert running.stdout.readline() == "ready\n"
        interrupt(running)


def test_second_ctrl_c_does_not_wait_and_prints_nothing_more(tmp_path: Path) -> None:
    with started(cwd=tmp_path, program=SLOW_TO_CLOSE) as running:
        assert running.stdout
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGINT)
        assert running.stdout.readline() == "closing\n"
        assert interrupt(running) == ""


def test_process_that_ignores_ctrl_c_goes_on_ignoring_it(tmp_path: Path) -> None:
    ended = process(cwd=tmp_path, program=IGNORED)
    assert (ended.code, ended.out, ended.err) == (0, ["done"], [])
