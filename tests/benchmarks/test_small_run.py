"""The short run that memory checkers watch."""

from benchmarks import small_run


def test_small_run_touches_every_op():
    small_run.run("cpu")
