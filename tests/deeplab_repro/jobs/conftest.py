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
        ranks = [
            subprocess.Popen(
                [sys.executable, ONE_JOB, str(rank), str(port), body],
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "TORCH_CPP_LOG_LEVEL": "ERROR"},
            )
            for rank, body in enumerate(bodies)
            if body is not None
        ]
        try:
            ended = [(each.communicate(timeout=60)[1], each.returncode) for each in ranks]
            return [(code, text.strip().split("\n")[-1]) for text, code in ended]
        finally:
            for each in ranks:
                each.kill()

    return run
