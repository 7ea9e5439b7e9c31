#!/usr/bin/env bash
# Checks (FIX=1: applies) the C++ format; says so in one line where clang-format
# is not installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v clang-format >/dev/null || { echo "C++ format not checked: clang-format is not installed"; exit 0; }
mapfile -t files < <(find csrc tests/cpp -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.inl')
if [ -n "${FIX:-}" ]; then clang-format -i "${files[@]}"; else clang-format --dry-run --Werror "${files[@]}"; fi
