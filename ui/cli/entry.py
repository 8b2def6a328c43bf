"""The command line. Exit codes: 0 done, 1 failed or something skipped, 2 usage, 3 anomaly found."""

from __future__ import annotations

import signal
import sys

import typer

from backbones.errors import VecspectError
from ui.cli.commands import app as shown
from ui.cli.commands import (
    benchmark,
    learn,
    networks,
    retrieval,
    score,
    speed,
    status,
    studies,
    update,
)
from ui.cli.options import FAILED

INTERRUPTED = 130

app = typer.Typer(
    help="Finds defects in product images, learnt from normal images only and kept in Qdrant.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    learn.index,
    score.score,
    retrieval.similar,
    retrieval.label,
    retrieval.clusters,
    retrieval.outliers,
    benchmark.benchmark,
    speed.speed,
    benchmark.precision,
    studies.calibration_study,
    studies.living_study,
    status.status,
    learn.calibrate,
    update.add,
    update.remove,
    update.quarantine,
    update.history,
    update.rollback,
    status.audit,
    status.health,
    networks.backbones,
    networks.export,
    shown.ui,
    shown.demo,
):
    app.command()(command)


def main() -> None:
    """Entry point: explained errors become one line and exit code 1."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `vecspect score … | head` ends quietly
    try:
        app()
    except VecspectError as error:
        _fail(str(error))
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        _fail(f"{error.strerror or error}{where}")
    except KeyboardInterrupt:
        sys.stderr.write("vecspect: interrupted; run the same command again to finish.\n")
        sys.exit(INTERRUPTED)


def _fail(message: str) -> None:
    sys.stderr.write(f"vecspect: {' '.join(message.split())}\n")
    sys.exit(FAILED)
