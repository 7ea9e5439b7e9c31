"""What nets are fed: Caffe's data layers (feeds), data sets on disk (sets), drawn scenes (scenes)."""
