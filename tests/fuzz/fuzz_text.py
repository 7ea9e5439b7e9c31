"""Fuzz the prototxt reader; options as in harness.py."""

import harness

harness.run("text", max_len=1000)
