"""Compile the schemas: `python -m prototxt_import.schema.compile [PROTOC]` writes <dialect>.desc beside this file.

PROTOC is any Protocol Buffers compiler; default `protoc`, or the one inside grpcio-tools where that is installed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from prototxt_import.schema import DIALECTS

HERE = Path(__file__).parent


def compiler() -> list[str] | None:
    """The command of a compiler found on this machine, or None."""
    protoc = shutil.which("protoc")
    if protoc:
        return [protoc]
    return [sys.executable, "-m", "grpc_tools.protoc"] if importlib.util.find_spec("grpc_tools") else None


def compile_dialect(protoc: list[str], dialect: str, target: Path) -> None:
    """Write the FileDescriptorSet of a dialect, imported files included.

    Args:
        protoc: The compiler's command.
        dialect: The dialect.
        target: The file that is written.
    """
    # A file of the dialect's own stands before the common one of that name.
    paths = [f"-I{HERE / dialect}", f"-I{HERE}"]
    subprocess.run([*protoc, *paths, "--include_imports", f"-o{target}", "solver.proto"], check=True)


def main() -> None:
    """Compile every dialect's schema; the arguments are the compiler's command, looked for where there is none."""
    protoc = sys.argv[1:] or compiler()
    if protoc is None:
        sys.exit("no protoc found: install protobuf-compiler, or `pip install grpcio-tools`")
    for dialect in DIALECTS:
        compile_dialect(protoc, dialect, HERE / f"{dialect}.desc")


if __name__ == "__main__":
    main()
