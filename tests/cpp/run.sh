#!/usr/bin/env bash
# Builds csrc/core + csrc/cpu without Python, in the tree that setup.py takes the
# library from, and runs their tests through ctest; says in one line what is
# missing where they cannot run. PYTHON may be a virtual environment's, whose
# cmake and ninja are then used.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -n "${PYTHON:-}" ]; then PATH="$(cd "$(dirname "$PYTHON")" && pwd):$PATH"; fi
command -v cmake >/dev/null || { echo "C++ tests not run: cmake is not installed"; exit 0; }
build=build/cmake
generator=()
if command -v ninja >/dev/null && [ ! -f "$build/CMakeCache.txt" ]; then generator=(-G Ninja); fi
cmake -S . -B "$build" "${generator[@]}" -DDEEPLAB_TESTS=ON -DDEEPLAB_CUDA=ON "$@"
if ! grep -q 'GTest_DIR:PATH=/' "$build/CMakeCache.txt"; then
  echo "C++ tests not run: GoogleTest is not installed (Debian: libgtest-dev)"
fi
cmake --build "$build" --parallel "$(nproc)"
cd "$build" && ctest --output-on-failure --no-tests=ignore
