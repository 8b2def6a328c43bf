"""Commands run in this process: on a learnt store that all read, on one of their own, on none."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ui.cli.running import Ended, OwnVecspect, Shop, Vecspect, process
from ui.cli import entry


@pytest.fixture(scope="session")
def shop(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    return Shop(folder, process("index", dataset, "-c", "grid", "--coreset", "0.02", cwd=folder))


@pytest.fixture
def run_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Vecspect:
    """The command in this process, in an empty folder, without settings in the environment."""
    for name in [n for n in os.environ if n.startswith(("VECSPECT_", "QDRANT_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # it would outlive the command
    monkeypatch.setattr(entry, "ends_on_interrupt", contextlib.nullcontext)

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["vecspect", *map(str, arguments)])
        capsys.readouterr()
        monkeypatch.setenv("VECSPECT_CONFIG", "")  # `--config` sets it, for this command alone
        with pytest.raises(SystemExit) as end:
            entry.main()
        out, err = capsys.readouterr()
        return Ended(int(end.value.code or 0), out.splitlines(), err.splitlines())

    return run


@pytest.fixture
def shop_vecspect(run_command: Vecspect, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Vecspect:
    """The command on the shop's store."""
    monkeypatch.setenv("VECSPECT_STORE", shop.store)
    return run_command


@pytest.fixture
def vecspect(shop_vecspect: Vecspect) -> Vecspect:
    """The command on the shop's store, where a file says nothing else."""
    return shop_vecspect


@pytest.fixture
def own_vecspect(
    run_command: Vecspect,
    learnt_copy: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> OwnVecspect:
    """The command on a store of its own: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VECSPECT_STORE", str(learnt_copy("own")))

    def run(*arguments: object) -> tuple[int, str, str]:
        code, out, err = run_command(*arguments)
        return code, "".join(f"{line}\n" for line in out), "".join(f"{line}\n" for line in err)

    return run
