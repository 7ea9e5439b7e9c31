"""Builds the package beside several versions of torch in fresh environments, and runs a part of each kind in them.

    python tests/tools/torch_matrix.py [--torch 2.11.0 2.13.0 2.14.1] [--python python3.11 ...] [--keep]

Prints one line a pair: versions, seconds, and the outcome; exit code 1 where one fails. CPU only (DEEPLAB_CUDA=0): a
torch from PyPI brings its CUDA libraries, but not the compiler."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Oldest, pinned and newest.
VERSIONS = ("2.11.0", "2.13.0", "2.15.0")
PYTHONS = ("python3.11", "python3.12", "python3.13")
SMOKE = """
import warnings
warnings.simplefilter("error")
import numpy as np, torch
from torch.nn import functional as F
from deeplab_repro import AtrousConv2d, CRFParams, DenseCRF, load_caffe, models
conv = AtrousConv2d(3, 4, 3, dilation=2, padding=2)
x = torch.randn(2, 3, 9, 11, requires_grad=True)
y = conv(x)
assert torch.allclose(y, F.conv2d(x, conv.weight, conv.bias, padding=2, dilation=2), atol=1e-5)
y.sum().backward()
assert x.grad.shape == x.shape
net = load_caffe("net.prototxt")
blobs = net(data=torch.rand(1, 3, 33, 33))
assert blobs["score"].shape == (1, 2, 33, 33)
image = torch.randint(0, 255, (1, 7, 8, 3), dtype=torch.uint8)
marginals = DenseCRF(CRFParams(iterations=2))(image, torch.randn(1, 3, 7, 8))
assert torch.allclose(marginals.sum(1), torch.ones(1, 7, 8), atol=1e-4)
from deeplab_repro import Segmenter
labels = Segmenter("bundled")(np.zeros((65, 97, 3), np.uint8) + 90).labels
assert labels.shape == (65, 97)
print("ok")
"""
NET = """input: "data" input_shape { dim: 1 dim: 3 dim: 33 dim: 33 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 4 dilation: 4 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "score" type: "Convolution" bottom: "conv" top: "score"
  convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "xavier" } } }
"""


def works(python: str) -> bool:
    """Whether an interpreter is there; a shim of a version manager may stand for one that is not."""
    return bool(shutil.which(python)) and subprocess.run([python, "--version"], capture_output=True).returncode == 0


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """A command's output; RuntimeError with its last lines where it fails."""
    # No configuration of pip: a constraint of the machine must not hold the newest torch back.
    environment = os.environ | {"DEEPLAB_CUDA": "0", "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        raise RuntimeError("\n".join(done.stdout.splitlines()[-15:]))
    return done.stdout


def try_pair(python: str, version: str, folder: Path) -> str:
    """Install torch and the package, and run the smoke; what came out in words."""
    shutil.rmtree(folder, ignore_errors=True)
    run(python, "-m", "venv", folder / "venv")
    own = folder / "venv" / "bin" / "python"
    # The files of the commit and of the working tree, without what was built in it.
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / "tree" / name)
    start = time.monotonic()
    run(own, "-m", "pip", "install", "-q", "--upgrade", "pip", "setuptools>=77", "wheel", "cmake>=3.18", "ninja")
    run(own, "-m", "pip", "install", "-q", f"torch=={version}")
    installed = time.monotonic()
    run(own, "-m", "pip", "install", "-q", "--no-build-isolation", folder / "tree")
    built = time.monotonic()
    (folder / "net.prototxt").write_text(NET)
    run(own, "-c", SMOKE, cwd=folder)
    return f"passes (torch {installed - start:.0f} s, package {built - installed:.0f} s)"


def main() -> None:
    """Try every pair and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", nargs="+", default=VERSIONS, metavar="VERSION")
    parser.add_argument("--python", nargs="+", default=PYTHONS, metavar="PROGRAM")
    parser.add_argument("--keep", action="store_true", help="leave the environments in build/matrix")
    options = parser.parse_args()
    pythons = [python for python in options.python if works(python)]
    failures = 0
    print("| Python | torch | outcome |\n| --- | --- | --- |")
    for python in pythons:
        for version in options.torch:
            folder = ROOT / "build" / "matrix" / f"{Path(python).name}-torch{version}"
            try:
                outcome = try_pair(python, version, folder)
            except RuntimeError as error:
                failures += 1
                outcome = f"FAILS: {str(error).splitlines()[-1]}"
                print(error, file=sys.stderr)
            print(f"| {Path(python).name} | {version} | {outcome} |", flush=True)
            if not options.keep:
                shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if failures or not pythons else 0)


if __name__ == "__main__":
    main()
