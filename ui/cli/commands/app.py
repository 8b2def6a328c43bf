"""The commands that show vecspect at work: the app and the demo."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from backbones.errors import VecspectError
from ui.cli import options
from ui.cli.console import note, progress_bars


def ui(
    store: options.Store = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Show image files below this folder; repeatable. [default: here]"),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")
    ] = "localhost",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open a browser.")
    ] = False,
) -> None:
    """Open the app: inspect, batches, library, calibration, reports, system.

    Set VECSPECT_UI_PASSWORD to ask visitors for a password.
    """
    try:
        from streamlit import net_util
        from streamlit.web import bootstrap
    except ImportError:
        raise VecspectError(
            "the app needs Streamlit: install vecspect with its extra, pip install '.[ui]'"
        ) from None
    from ui.settings import MOST_UPLOADED

    settings = options.settings_of(store=store, image_roots=images)
    os.environ["VECSPECT_STORE"] = settings.store
    os.environ["VECSPECT_IMAGE_ROOTS"] = json.dumps([str(p) for p in settings.image_roots])
    if host not in ("localhost", "127.0.0.1", "::1") and not (
        settings.ui_password or settings.ui_user_header
    ):
        note("Anyone who reaches this address may see and teach. Set VECSPECT_UI_PASSWORD.")
    server = {
        "server_address": host,
        "server_port": port,
        "server_headless": no_browser or not sys.stdout.isatty(),
        "server_maxUploadSize": MOST_UPLOADED >> 20,
        "server_fileWatcherType": "none",
        "browser_gatherUsageStats": False,
        "client_toolbarMode": "minimal",
        "client_showErrorDetails": "none",
    }
    # Streamlit asks a host on the internet for this machine's address when a page of another
    # origin calls
    net_util.get_external_ip = lambda: None
    app = str(Path(__file__).parents[2] / "app" / "entry.py")
    bootstrap.load_config_options(server)
    bootstrap.run(app, False, [], server)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for data, store and report.")] = Path(
        "demo_out"
    ),
) -> None:
    """Do the whole job on procedurally made data with the bundled network."""
    from ui.cli.demo import run_demo

    with progress_bars() as on_progress:
        run_demo(out, on_progress)
