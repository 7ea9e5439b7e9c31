"""What setup.py says where it cannot build: one line, and what to type."""

import subprocess
import sys

import pytest

from tests.paths import ROOT


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/tmp/pip-build-env-x/overlay", "pip's isolated build does not see; type: pip install --no-build-isolation ."),
        ("/elsewhere", "torch is not installed in this environment; install it first (pip install torch)"),
    ],
)
def test_a_build_without_torch_ends_in_one_line(place, said, tmp_path):
    code = (
        f"import runpy, sys\nsys.path.append({place!r})\nsys.modules['torch'] = None\n"
        f"sys.argv = ['setup.py', 'egg_info']\nrunpy.run_path({str(ROOT / 'setup.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
