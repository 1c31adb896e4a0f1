"""`pack serve` as a process of its own: it ends with Ctrl-C."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from packc.server.environment import Server
from served_packages import TEXTS, write_text_package


@pytest.mark.e2e
def test_serves_until_it_is_interrupted(triton_server: Server, tmp_path: Path) -> None:
    package = write_text_package(tmp_path / "package")
    command = [sys.executable, "-c", "from packc.cli.main import main; main()", "serve", str(package)]
    command += ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as pack:
        assert pack.stdout is not None
        lines = [pack.stdout.readline() for _ in range(5)]
        curl = lines[-1]
        assert TEXTS[0] in curl
        answer = subprocess.run(shlex.split(curl), capture_output=True, text=True, check=True).stdout
        pack.send_signal(signal.SIGINT)
        assert pack.wait(20) == 130
    assert '"name":"embedding"' in answer
    assert "[4.0,0.0,0.0,0.0]" in answer
