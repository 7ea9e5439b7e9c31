"""Benchmarks of the kernels and of whole nets beside named peers: correctness first, then time."""
