"""Runs one step of the Makefile: its name, a bar where ninja counts, its seconds; what it prints only where it fails.

    python tests/tools/step.py NAME COMMAND...

V=1 in the environment shows everything as it comes. Exit code: the command's."""

import os
import re
import subprocess
import sys
import time

COUNT = re.compile(rb"^\[(\d+)/(\d+)\]")
BAR = 24


def draw(name: str, done: int, total: int) -> None:
    """The bar in place of the line, on a terminal only."""
    if sys.stdout.isatty():
        filled = BAR * done // max(total, 1)
        sys.stdout.write(f"\r{name:<44} [{'#' * filled}{'.' * (BAR - filled)}] {done}/{total} ")
        sys.stdout.flush()


def main() -> int:
    """Run the step and say how it went."""
    name, command = sys.argv[1], sys.argv[2:]
    if os.environ.get("V") == "1":
        print(f"== {name}: {' '.join(command)}", flush=True)
        return subprocess.run(command).returncode
    start = time.monotonic()
    draw(name, 0, 1)
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for line in process.stdout:
            lines.append(line)
            counted = COUNT.match(line)
            if counted:
                draw(name, int(counted[1]), int(counted[2]))
    seconds = time.monotonic() - start
    clear = "\r\033[K" if sys.stdout.isatty() else ""
    print(f"{clear}{name:<44} {'failed after ' if process.returncode else ''}{seconds:6.1f} s", flush=True)
    if process.returncode:
        sys.stdout.flush()
        sys.stdout.buffer.writelines(lines)
        print(f"The command was: {' '.join(command)}")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
