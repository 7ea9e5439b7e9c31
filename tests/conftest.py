"""What holds for every test, in each process that runs some."""

import signal


def pytest_configure(config):
    # Under nohup, and in a script's background job, SIGINT is ignored, and children would inherit that: those that
    # tests interrupt must hear it. A handler is reset to the default one in a child, "ignored" is not.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
