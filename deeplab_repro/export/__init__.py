"""Nets written out again: Caffe's files and ONNX."""
