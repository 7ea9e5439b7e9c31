"""Training as Caffe does it, from a solver file."""

from deeplab_repro.train.schedule import learning_rates

__all__ = ["learning_rates"]
