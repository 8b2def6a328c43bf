"""Nothing leaves the machine: every command and the app run where the network is dead."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ui.app.driving import serving
from tests.ui.cli.running import environment

RECORDER = """
import os, socket, sys

def _host(event, given):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        return given[0]
    datagram = event == "socket.connect" and given[0].type == socket.SOCK_DGRAM  # sends nothing
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg") and not datagram:
        return given[1][0] if isinstance(given[1], tuple) else None
    return None

def _watch(event, given):
    if not event.startswith("socket."):
        return
    host = _host(event, given)
    host = host.decode() if isinstance(host, bytes) else host
    if host and host not in ("localhost", "::1") and not host.startswith("127."):
        with open(os.environ["CONTACTS"], "a") as log:
            log.write(f"{host}\\n")
        raise OSError(101, "the network is dead")

sys.addaudithook(_watch)
"""

COMMANDS = """
import json, sys
from ui.cli import demo
from ui.cli.entry import main

demo.TRAIN, demo.TEST_NORMAL, demo.TEST_DEFECTIVE = 4, 2, 3
codes = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["vecspect", *arguments]
    try:
        main()
    except SystemExit as end:
        codes.append(end.code or 0)
print()
print(json.dumps(codes))
"""

PAGES = """
import json, sys
from pathlib import Path

from streamlit.testing.v1 import AppTest
from ui.app import views

for module in sorted(Path(views.__file__).parent.glob("[a-z]*.py")):
    page = AppTest.from_string(
        f"from ui.app.views import {module.stem}\\n{module.stem}.show()", default_timeout=60
    )
    page.run()
    assert not page.exception, page.exception
    print(module.stem)
"""


class DeadNetwork:
    """Processes that reach nothing but loopback, and the hosts that they asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._log = folder, folder / "contacts"
        self.home = folder / "home"
        self.home.mkdir()
        (folder / "sitecustomize.py").write_text(RECORDER, "utf-8")
        root = environment()["PYTHONPATH"]
        # OpenVINO reports nothing where it takes itself for a build machine's
        quiet = dict.fromkeys(("CI", "TF_BUILD", "JENKINS_URL"), "")
        self.variables = {
            **quiet,
            "PYTHONPATH": f"{folder}:{root}",
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "CONTACTS": str(self._log),
        }

    def run(self, program: str, *arguments: str) -> list[str]:
        """The lines that a program prints."""
        ended = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=self.folder,
            env=environment(**self.variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.splitlines()

    def contacts(self) -> list[str]:
        return self._log.read_text("utf-8").splitlines() if self._log.exists() else []


@pytest.fixture
def dead_network(tmp_path: Path) -> DeadNetwork:
    return DeadNetwork(tmp_path)


@pytest.fixture
def app_without_network(dead_network: DeadNetwork) -> Iterator[str]:
    """Address, host and port, of an app that was started on the dead network."""
    variables = {**dead_network.variables, "VECSPECT_STORE": str(dead_network.folder / "store")}
    with serving(dead_network.folder, variables) as address:
        yield address.removeprefix("http://")


def test_recorder_sees_what_a_process_and_its_children_ask_for(dead_network: DeadNetwork) -> None:
    ask = "import socket; socket.create_connection(('{}', 80))"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ask!r}])"
    dead_network.run(child.format("vecspect.invalid"))
    dead_network.run(child.format("192.0.2.1"))
    assert dead_network.contacts() == ["vecspect.invalid", "192.0.2.1"]


def test_no_command_contacts_another_machine(dead_network: DeadNetwork, dataset: Path) -> None:
    image = str(next((dataset / "test/good").iterdir()))
    at = ["--category", "p", "--store", "store"]
    commands = [
        ["index", str(dataset), *at, "--coreset", "0.02"],
        ["score", image, *at, "--maps", "maps"],
        ["similar", image, *at, "--by", "whole"],
        ["clusters", *at],
        ["outliers", *at],
        ["drift", *at],
        ["add", image, *at],
        ["history", *at],
        ["calibrate", *at, "--reject", "0.3"],
        ["rollback", "1", *at],
        ["status", "--store", "store"],
        ["benchmark", str(dataset), "--coreset", "0.02", "--out", "report"],
        ["backbones", "compact"],
        ["config"],
        ["export", "--backbone", "compact", "--out", "network"],
        ["demo", "--out", "demo"],
    ]
    *_, codes = dead_network.run(COMMANDS, json.dumps(commands))
    assert dict(zip((c[0] for c in commands), json.loads(codes), strict=True)) == {
        command[0]: 0 for command in commands
    }
    assert dead_network.contacts() == []
    assert not (dead_network.home / "intel").exists()


def test_no_page_contacts_another_machine(
    dead_network: DeadNetwork, learnt_copy: Callable[[str], Path]
) -> None:
    dead_network.variables["VECSPECT_STORE"] = str(learnt_copy("store"))
    assert "inspect" in dead_network.run(PAGES)
    assert dead_network.contacts() == []
    assert not (dead_network.home / "intel").exists()


def test_app_contacts_no_other_machine_whoever_calls(
    dead_network: DeadNetwork, app_without_network: str
) -> None:
    calls = {
        "/": {},
        "/_stcore/stream": {  # a web socket of a page of another origin
            "Origin": "http://elsewhere.invalid",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        },
    }
    statuses = []
    for path, headers in calls.items():
        connection = http.client.HTTPConnection(app_without_network, timeout=30)
        connection.request("GET", path, headers=headers)
        statuses.append(connection.getresponse().status)
        connection.close()
    assert statuses == [200, 403]
    assert dead_network.contacts() == []
    assert not (dead_network.home / "intel").exists()
