"""Fuzz the reader of database records; options as in harness.py."""

import harness

harness.run("datum", max_len=300)
