"""Fixtures of the rooms that verbs call."""

from tests.deeplab_repro.data.sets.faulty_sets import voc_scenes  # noqa: F401
from tests.deeplab_repro.data.sets.releases import voc_with_sbd  # noqa: F401
from tests.deeplab_repro.inspect.caffe_files import mean_file, solver_file  # noqa: F401
from tests.deeplab_repro.inspect.recordings import blobs, gradients, net  # noqa: F401
from tests.deeplab_repro.train.small_run import tiny  # noqa: F401
