"""Published networks by name: see deeplab_repro.zoo.models."""

from deeplab_repro.zoo.models import *  # noqa: F403
