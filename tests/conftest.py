"""What holds for every test, in each process that runs some."""

import signal
import sys

import pytest


def pytest_configure(config):
    # Under nohup, and in a script's background job, SIGINT is ignored, and children would inherit that: those that
    # tests interrupt must hear it. A handler is reset to the default one in a child, "ignored" is not.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def uninitialised_memory_is_poisoned():
    """torch.empty and its kin, at::empty of the extension too, hold NaN or the type's largest number: whoever reads
    what nobody wrote gets a wrong result every time, not only when the allocator hands out a used page."""
    torch = sys.modules.get("torch")  # the importer's tests do without
    if torch is None:
        yield
        return
    # The fill belongs to deterministic mode (fill_uninitialized_memory is on by default). An operator that has no
    # deterministic form warns only.
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
