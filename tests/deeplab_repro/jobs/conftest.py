"""Jobs of two processes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ONE_JOB = Path(__file__).with_name("one_job.py")


@pytest.fixture
def job():
    """job(first, second): two ranks with these bodies, None for one that never comes; [(exit code, last line)]."""

    def run(*bodies):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # On a busy machine one may take long to load; one that never comes is waited for as long.
        arrival = "3" if None in bodies else "200"
        ranks = [
            subprocess.Popen(
                [sys.executable, ONE_JOB, str(rank), str(port), arrival, body],
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "TORCH_CPP_LOG_LEVEL": "ERROR"},
            )
            for rank, body in enumerate(bodies)
            if body is not None
        ]
        try:
            ended = [(process.communicate(timeout=240)[1], process.returncode) for process in ranks]
            return [(code, text.strip().split("\n")[-1]) for text, code in ended]
        finally:
            for process in ranks:
                process.kill()

    return run
