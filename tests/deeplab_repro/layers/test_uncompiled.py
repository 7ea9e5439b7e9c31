"""What a compiled graph leaves to Python."""

import subprocess
import sys

import torch

from deeplab_repro.layers.uncompiled import uncompiled


@uncompiled
def largest(x):
    """Reads a value, and says by a string whether it was traced."""
    return float(x.max()), isinstance(x, torch.Tensor) and not torch.compiler.is_compiling()


def test_called_plainly_it_is_the_function_itself():
    assert largest(torch.tensor([1.0, 3.0])) == (3.0, True)
    assert largest.__name__ == "largest"
    assert "Reads a value" in largest.__doc__


def test_a_compiled_function_breaks_its_graph_around_it():
    compiled = torch.compile(lambda x: (x + 1, *largest(x * 2)), backend="eager")
    y, value, in_python = compiled(torch.tensor([1.0, 3.0]))
    assert y.tolist() == [2.0, 4.0]
    assert (value, in_python) == (6.0, True)


def test_importing_the_package_loads_no_compiler():
    code = "import sys, torch; from deeplab_repro import load_caffe; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch._dynamo", "torch._inductor", "matplotlib", "scipy", "cv2", "h5py", "onnx"} & set(loaded)
