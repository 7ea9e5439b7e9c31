"""Caffe's binary files: the wire format, weights, HDF5, solver states."""
