"""The operators of the torch library `deeplab`: typed wrappers, each with its gradient beside it.

The C++ side (`csrc/`) registers schemas, CPU, CUDA and Meta kernels, and checks every argument; a wrong one raises
RuntimeError naming operator, rule and value found."""

from deeplab_repro.ops.conv import (
    PACKED_METHODS,
    add_bias_,
    atrous_conv2d,
    atrous_conv2d_packed,
    pack_weight,
    plan,
    shift_add,
)
from deeplab_repro.ops.im2col import col2im, im2col
from deeplab_repro.ops.lattice import Lattice, lattice_build, lattice_filter, spatial_order
from deeplab_repro.ops.meanfield import meanfield, meanfield_exact
from deeplab_repro.ops.unrolled import meanfield_unrolled

__all__ = [
    "PACKED_METHODS",
    "Lattice",
    "add_bias_",
    "atrous_conv2d",
    "atrous_conv2d_packed",
    "col2im",
    "im2col",
    "lattice_build",
    "lattice_filter",
    "meanfield",
    "meanfield_exact",
    "meanfield_unrolled",
    "pack_weight",
    "plan",
    "shift_add",
    "spatial_order",
]
