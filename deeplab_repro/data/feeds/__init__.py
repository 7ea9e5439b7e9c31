"""Caffe's data layers: lists, images and arrays in the order the forks read them."""
