"""Small files of Caffe's: a solver, a mean, a solver's state."""

import numpy as np
import pytest

from prototxt_import.binary.wire import encode_bytes, encode_key, encode_varint

SOLVER = """\
net: "a.prototxt" # layer { }
base_lr: 0.001
lr_policy: "step"
gamma: 0.1
stepsize: 2000
"""


def _message(*fields):
    return b"".join(b"".join(encode_bytes(number, payload)) for number, payload in fields)


def write_state(path, iteration=5, value=1.0):
    blob = _message((5, np.full(3, value, np.float32).tobytes()))
    head = encode_key(1, 0) + encode_varint(iteration) + _message((2, b"w_iter_5.caffemodel"), (3, blob))
    path.write_bytes(head + encode_key(4, 0) + encode_varint(2))


@pytest.fixture
def mean_file(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(1, 3, 2, 4)
    dims = b"".join(encode_key(i, 0) + encode_varint(n) for i, n in enumerate(values.shape, 1))
    (tmp_path / "mean").write_bytes(dims + _message((5, values.tobytes())))
    return tmp_path / "mean"


@pytest.fixture
def solver_file(tmp_path):
    (tmp_path / "solver").write_text(SOLVER)
    return tmp_path / "solver"
