"""Entry point. Exit codes: 0 done, 1 failed or skipped, 2 usage, 3 anomaly found, 130 Ctrl-C."""

from __future__ import annotations

import io
import signal
import sys

from ui.cli.interrupt import ends_on_interrupt


def main() -> None:
    """Run the command that the arguments name; an explained error is one line and exit code 1."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `vecspect score … | head` ends quietly
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # so that an interruption loses no result
    with ends_on_interrupt():
        _run()


def _run() -> None:
    from backbones.errors import VecspectError
    from ui.cli.options import FAILED
    from ui.cli.root import app

    try:
        app(prog_name="vecspect")
    except VecspectError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.strerror or error}{f' {error.filename}' if error.filename else ''}"
    sys.stderr.write(f"vecspect: {' '.join(message.split())}\n")
    sys.exit(FAILED)
