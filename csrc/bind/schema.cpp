// Every operator schema of the library `deeplab`, once.
#include <torch/library.h>

TORCH_LIBRARY(deeplab, m) {
  // Sparse-sampled im2col: input [N, C, H, W] ->
  // columns [N, C * kernel_h * kernel_w, out_h * out_w].
  m.def(
      "im2col(Tensor input, SymInt[2] kernel, SymInt[2] stride, "
      "SymInt[2] padding, SymInt[2] dilation) -> Tensor");
  // Adjoint of im2col: columns -> [N, C, size[0], size[1]].
  m.def(
      "col2im(Tensor columns, SymInt[2] size, SymInt[2] kernel, "
      "SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation) -> Tensor");
  m.def(
      "atrous_conv2d(Tensor input, Tensor weight, Tensor? bias, "
      "SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation, "
      "SymInt groups, str method) -> Tensor");
  m.def(
      "atrous_conv2d_backward(Tensor grad, Tensor input, Tensor weight, "
      "SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation, "
      "SymInt groups, str method, bool[3] output_mask) "
      "-> (Tensor, Tensor, Tensor)");
  // The way a method goes for these sizes: "direct", "winograd2", ...
  m.def(
      "atrous_conv2d_plan(Tensor input, Tensor weight, SymInt[2] stride, "
      "SymInt[2] padding, SymInt[2] dilation, SymInt groups, str method, "
      "bool packed) -> str");
  // weight -> [elements] as the way `method` ("direct", "winograd2",
  // "winograd4") reads it.
  m.def(
      "atrous_conv2d_pack(Tensor weight, SymInt groups, str method) -> Tensor");
  // atrous_conv2d by that way with a packed weight; then max(0, .) if relu.
  // No gradients.
  m.def(
      "atrous_conv2d_packed(Tensor input, Tensor weight, Tensor packed, "
      "Tensor? bias, SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation, "
      "SymInt groups, str method, bool relu) -> Tensor");
  // maps [N, F, H, W] += bias [F]; then max(0, .) if relu. No gradients.
  m.def("add_bias_(Tensor(a!) maps, Tensor bias, bool relu) -> ()");
  // The ways "direct", "winograd2" and "winograd4" go on CUDA, on the CPU: for
  // tests.
  m.def(
      "atrous_conv2d_batched(Tensor input, Tensor weight, Tensor? bias, "
      "SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation, "
      "SymInt groups, str method, bool relu) -> Tensor");
  m.def(
      "atrous_conv2d_batched_backward(Tensor grad, Tensor input, "
      "Tensor weight, SymInt[2] stride, SymInt[2] padding, "
      "SymInt[2] dilation, SymInt groups, str method, bool[3] output_mask) "
      "-> (Tensor, Tensor, Tensor)");
  // values [N, H, W, T, F] -> [N, F, H, W]: sum over taps t of the value at
  // (y + offset_h[t], x + offset_w[t]), 0 outside.
  m.def("shift_add(Tensor values, int[] offset_h, int[] offset_w) -> Tensor");
  // Adjoint of shift_add: maps [N, F, H, W] -> [N, H, W, T, F].
  m.def("shift_gather(Tensor maps, int[] offset_h, int[] offset_w) -> Tensor");
  // features [N, d] -> vertices [N, d + 1] int32, weights [N, d + 1],
  // neighbors [N (d + 1), d + 1, 2] int32 (-1: none), entries [N (d + 1)]
  // int32 and offsets [N (d + 1) + 1] int32 (the splat grouped by vertex),
  // count [1] int64. Rows past the count are -1 (neighbors) or the total
  // (offsets).
  m.def(
      "lattice_build(Tensor features) -> (Tensor vertices, Tensor weights, "
      "Tensor neighbors, Tensor entries, Tensor offsets, Tensor count)");
  // values [N, C] -> [N, C]: splat, blur along axes 0..d (d..0 when reverse),
  // slice; no normalisation.
  m.def(
      "lattice_filter(Tensor values, Tensor vertices, Tensor weights, "
      "Tensor neighbors, Tensor entries, Tensor offsets, Tensor count, "
      "bool reverse=False) -> Tensor");
  // unary [B, L, P], features of each kernel [B or 1, P, d] -> marginals
  // [B, L, P]. Weights: one per kernel, or image after image one per kernel.
  // storage "float16" keeps marginals and lattice values in half precision.
  m.def(
      "meanfield(Tensor unary, Tensor[] features, float[] kernel_weights, "
      "Tensor? compatibility, str normalization, int iterations, "
      "str storage=\"same\") -> Tensor");
  // As meanfield, over all pairs of points; pairs of 64-point blocks whose
  // weights all lie below skip_below are left out. error_bound [B] float64
  // bounds what that did to any marginal.
  m.def(
      "meanfield_exact(Tensor unary, Tensor[] features, "
      "float[] kernel_weights, Tensor? compatibility, str normalization, "
      "int iterations, float skip_below) "
      "-> (Tensor marginals, Tensor error_bound)");
}
