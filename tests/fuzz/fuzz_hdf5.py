"""Fuzz the readers of HDF5 files; options as in harness.py."""

import harness

harness.run("hdf5", max_len=8000)
