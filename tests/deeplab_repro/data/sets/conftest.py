"""Releases that tests of several modules read."""

from tests.deeplab_repro.data.sets.faulty_sets import voc_scenes  # noqa: F401
from tests.deeplab_repro.data.sets.releases import voc_with_sbd  # noqa: F401
