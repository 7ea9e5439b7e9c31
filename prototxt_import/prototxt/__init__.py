"""Caffe's text: nets and solvers parsed, upgraded, written."""
