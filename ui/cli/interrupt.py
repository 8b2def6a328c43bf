"""Ctrl-C: the command ends within a second, with one line, whatever it is doing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""

GRACE = 0.5
"""Seconds that an interrupted command has to close what is open before it is ended."""

_LINE = "vecspect: interrupted; run the same command again to finish.\n"


class Interrupted(BaseException):
    """Ctrl-C. No `KeyboardInterrupt`, which Typer turns into an exit code without a word."""


@contextlib.contextmanager
def ends_on_interrupt() -> Iterator[None]:
    """Let Ctrl-C end the process: tidily within `GRACE` seconds, otherwise at once.

    Python runs signal handlers only between two of its own instructions, and waits for the threads
    of a pool. So a thread of our own watches for the signal too and ends the process after `GRACE`,
    or at a second Ctrl-C. Nothing is lost: what is committed stays, the rest is done again.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # ignored, as for a job in the background, or handled by whoever calls
        return
    seen, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    signal.set_wakeup_fd(wakeup.detach(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, _raise_once)
    threading.Thread(target=_watch, args=(seen,), name="interrupt", daemon=True).start()
    try:
        yield
    except Interrupted:
        _say_and_exit()


def _raise_once(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, _again)
    raise Interrupted


def _again(number: int, frame: FrameType | None) -> None:
    """Leave a second Ctrl-C to the thread: raised while closing, it would print a traceback."""


def _watch(seen: socket.socket) -> None:
    while seen.recv(1)[0] != signal.SIGINT:
        pass
    if signal.getsignal(signal.SIGINT) in (_raise_once, _again):  # else the app has its own
        seen.settimeout(GRACE)
        with contextlib.suppress(TimeoutError):
            seen.recv(1)
        _say_and_exit()


_saying = threading.Lock()


def _say_and_exit() -> None:
    """Say it once and end the process, without waiting for threads or closing handlers."""
    with _saying:  # never released: the process ends
        shown = "\x1b[?25h\n" if sys.stderr.isatty() else ""  # the cursor, that a bar hides
        os.write(sys.stderr.fileno(), f"{shown}{_LINE}".encode())
        os._exit(INTERRUPTED)
