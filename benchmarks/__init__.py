"""Correctness first, then speed: every case is checked before it is timed, and peers run alternately in one process."""
