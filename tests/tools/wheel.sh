#!/usr/bin/env bash
# Installs dist/'s wheel into a fresh environment and runs the demo there, away
# from the checkout. torch and the other packages are those of VENV, seen
# through a path file: an editable install's own hooks are not.
set -euo pipefail
cd "$(dirname "$0")/../.."
python="$(cd "${VENV:-.venv}/bin" && pwd)/python"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
sites='import sysconfig; print(sysconfig.get_path("purelib"))'
"$python" -c "$sites" >"$("$folder/venv/bin/python" -c "$sites")/packages.pth"
"$folder/venv/bin/python" -m pip install -q --no-deps --no-index dist/*.whl
cd "$folder"
venv/bin/python -c '
import sys, deeplab_repro
assert deeplab_repro.__file__.startswith(sys.prefix), deeplab_repro.__file__'
venv/bin/deeplab demo -o demo >demo.txt || { cat demo.txt; exit 1; }
tail -n 2 demo.txt
