"""Fuzz the caffemodel reader; options as in harness.py."""

import harness

harness.run("binary", max_len=1500)
