"""Files and recordings that tests of several modules read."""

from tests.deeplab_repro.inspect.caffe_files import mean_file, solver_file  # noqa: F401
from tests.deeplab_repro.inspect.recordings import blobs, gradients, net  # noqa: F401
