"""Benchmarks beside named peers: kernels, whole nets, the importer, the data loader; correctness first, then time."""
