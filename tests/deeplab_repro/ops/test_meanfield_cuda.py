"""The mean field on CUDA beside the CPU's: batches, graphs, storage, memory. Its contract stands in test_meanfield."""

import warnings

import pytest
import torch

from deeplab_repro import CRFParams, DenseCRF, ops


def scene(height: int, width: int, labels: int, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth noise as images [N, H, W, 3] uint8, and logits [N, L, H, W] of the same kind."""
    generator = torch.Generator().manual_seed(height * width + labels)
    low = torch.rand(batch, 3, height // 8 + 2, width // 8 + 2, generator=generator) * 255
    image = torch.nn.functional.interpolate(low, (height, width), mode="bilinear").round().to(torch.uint8)
    low = torch.randn(batch, labels, height // 8 + 2, width // 8 + 2, generator=generator) * 4
    return image.permute(0, 2, 3, 1).contiguous(), torch.nn.functional.interpolate(
        low, (height, width), mode="bilinear"
    )


def on_cuda(crf: DenseCRF, image: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    return crf(image.cuda(), scores.cuda())


@pytest.mark.gpu
@pytest.mark.usefixtures("needs_cuda")
class TestOnCuda:
    @pytest.mark.parametrize("labels", [1, 2, 21, 33, 60, 150])
    @pytest.mark.parametrize("size", [(1, 1), (17, 31), (64, 65)])
    def test_marginals_equal_the_cpus(self, size: tuple[int, int], labels: int) -> None:
        image, scores = scene(*size, labels, batch=2)
        crf = DenseCRF()
        q, want = on_cuda(crf, image, scores).cpu(), crf(image, scores)
        # Sums in another order; ten iterations amplify what float32 rounds.
        torch.testing.assert_close(q, want, atol=2e-4, rtol=0)
        assert (q.argmax(1) != want.argmax(1)).float().mean() <= 1e-3

    @pytest.mark.parametrize("normalization", CRFParams.NORMALIZATIONS)
    def test_float64_marginals_equal_the_cpus(self, normalization: str) -> None:
        image, scores = scene(33, 47, 21)
        crf = DenseCRF(CRFParams(normalization=normalization, gaussian_weight=1, bilateral_weight=1, iterations=5))
        q = on_cuda(crf, image, scores.double()).cpu()
        torch.testing.assert_close(q, crf(image, scores.double()), atol=1e-9, rtol=0)

    @pytest.mark.parametrize("storage", DenseCRF.STORAGES)
    def test_two_runs_and_any_batch_give_the_same_bits(self, storage: str) -> None:
        image, scores = scene(75, 101, 21, batch=3)
        crf = DenseCRF(storage=storage)
        first = on_cuda(crf, image, scores)
        assert torch.equal(first, on_cuda(crf, image, scores))
        for which in range(3):
            assert torch.equal(first[which], on_cuda(crf, image[which], scores[which]))

    def test_a_graph_follows_shapes_and_addresses(self) -> None:
        crf = DenseCRF(CRFParams(iterations=4))
        cases = [scene(40, 50, 21), scene(33, 20, 5), scene(40, 50, 21, batch=2), scene(40, 50, 60)]
        alone = [on_cuda(crf, *case).cpu() for case in cases]
        held = []  # moves what the allocator hands out next
        for _ in range(2):
            for case, want in zip(cases, alone, strict=True):
                held.append(torch.empty(12345, device="cuda"))
                assert torch.equal(on_cuda(crf, *case).cpu(), want)

    def test_runs_on_another_stream(self) -> None:
        image, scores = scene(40, 50, 21)
        crf = DenseCRF()
        want = on_cuda(crf, image, scores)
        stream = torch.cuda.Stream()
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            q = on_cuda(crf, image, scores)
        stream.synchronize()
        assert torch.equal(q, want)

    def test_half_storage_stays_close(self) -> None:
        image, scores = scene(75, 101, 21)
        full, half = (on_cuda(DenseCRF(storage=storage), image, scores) for storage in DenseCRF.STORAGES)
        assert torch.isfinite(half).all()
        assert (full.argmax(1) != half.argmax(1)).float().mean() < 2e-3
        assert (full - half).abs().mean() < 1e-3

    def test_half_storage_does_not_overflow_on_one_colour(self) -> None:
        # Hundreds of thousands in one row after the blur, beyond half precision's 65504.
        image, (_, scores) = torch.full((1, 100, 100, 3), 7, dtype=torch.uint8), scene(100, 100, 3)
        crf = DenseCRF(CRFParams(bilateral_xy_std=1000), storage="float16")
        q = on_cuda(crf, image, scores)
        assert torch.isfinite(q).all()
        torch.testing.assert_close(q.sum(1), torch.ones_like(q[:, 0]), atol=1e-2, rtol=0)

    def test_keys_that_do_not_fit_64_bits_fall_back(self) -> None:
        unary = torch.randn(2, 3, 200, device="cuda", dtype=torch.float64)
        features = [torch.randn(2, 200, 9, device="cuda", dtype=torch.float64) * 1000]
        got = ops.meanfield(unary, features, [3.0], iterations=3)
        want = ops.meanfield(unary.cpu(), [f.cpu() for f in features], [3.0], iterations=3)
        torch.testing.assert_close(got.cpu(), want, atol=1e-9, rtol=0)

    def test_a_batch_beyond_the_memory_runs_in_parts(self) -> None:
        image, scores = (tensor.cuda() for tensor in scene(120, 160, 21, batch=16))
        crf = DenseCRF(CRFParams(iterations=2))
        alone = torch.stack([crf(*pair) for pair in zip(image, scores, strict=True)])
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        crf(image, scores)
        peak = torch.cuda.max_memory_allocated() - before
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        try:
            torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + peak / 2) / total)
            assert torch.equal(crf(image, scores), alone)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)

    def test_an_image_beyond_the_memory_is_named(self) -> None:
        image, scores = (tensor.cuda() for tensor in scene(400, 500, 21))
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        try:
            torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**25) / total)
            with pytest.raises(torch.cuda.OutOfMemoryError, match="one image of 200000 points and 21 labels"):
                ops.meanfield(-scores.flatten(2), *self.kernels(image))
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)

    @staticmethod
    def kernels(image: torch.Tensor) -> tuple[list[torch.Tensor], list[float]]:
        return [image.flatten(1, 2).float() / 5], [4.0]

    def test_too_many_kernels_are_named(self) -> None:
        unary = torch.randn(1, 2, 10, device="cuda")
        with pytest.raises(RuntimeError, match="CUDA takes at most 8 kernels, got 9"):
            ops.meanfield(unary, [torch.randn(1, 10, 2, device="cuda")] * 9, [1.0] * 9)

    def test_features_out_of_range_are_refused(self) -> None:
        features = torch.full((2, 10, 2), 1.0, device="cuda")
        features[1, 3, 0] = float("nan")
        with pytest.raises(RuntimeError, match="meanfield: features must be finite"):
            ops.meanfield(torch.zeros(2, 2, 10, device="cuda"), [features], [1.0])

    def test_one_synchronisation_a_call(self) -> None:
        image, scores = (tensor.cuda() for tensor in scene(40, 50, 21, batch=2))
        problem = DenseCRF().problem(image, scores)
        ops.meanfield(*problem[:3])
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                ops.meanfield(*problem[:3])
            finally:
                torch.cuda.set_sync_debug_mode("default")
        assert sum("synchronizing CUDA operation" in str(warning.message) for warning in warned) == 1

    def test_half_storage_passes_opcheck(self) -> None:
        unary, features = torch.randn(2, 3, 50, device="cuda"), [torch.randn(2, 50, 5, device="cuda")]
        op = torch.ops.deeplab.meanfield.default
        torch.library.opcheck(op, (unary, features, [3.0], None, "after", 2, "float16"))

    def test_half_storage_has_the_gradient_of_full_precision(self) -> None:
        unary, features = torch.randn(1, 3, 50, device="cuda"), [torch.randn(1, 50, 5, device="cuda")]
        unary.requires_grad_()
        gradients = [
            torch.autograd.grad(ops.meanfield(unary, features, [3.0], storage=s).square().sum(), unary)[0]
            for s in DenseCRF.STORAGES
        ]
        torch.testing.assert_close(*gradients, atol=2e-2, rtol=2e-2)

    @pytest.mark.parametrize("skip_below", [0.0, 1e-6])
    def test_exact_marginals_equal_the_cpus(self, skip_below: float) -> None:
        image, scores = scene(41, 53, 21)
        crf = DenseCRF(method="exact", skip_below=skip_below)
        q = on_cuda(crf, image, scores).cpu()
        bound = crf.error_bound
        torch.testing.assert_close(q, crf(image, scores), atol=2e-4, rtol=0)
        torch.testing.assert_close(bound.cpu(), crf.error_bound, rtol=1e-2, atol=1e-9)


def test_the_cpu_refuses_half_storage() -> None:
    unary, features = torch.randn(1, 2, 5), [torch.randn(1, 5, 2)]
    with pytest.raises(RuntimeError, match="storage 'float16' is for CUDA"):
        ops.meanfield(unary, features, [1.0], storage="float16")
    with pytest.raises(RuntimeError, match="storage must be 'same' or 'float16', got 'half'"):
        ops.meanfield(unary, features, [1.0], storage="half")
    with pytest.raises(RuntimeError, match="storage 'float16' is for float32 problems"):
        ops.meanfield(unary.double(), [f.double() for f in features], [1.0], storage="float16")


def test_unknown_storage_is_refused() -> None:
    with pytest.raises(ValueError, match="storage must be one of same, float16, got 'half'"):
        DenseCRF(storage="half")
    with pytest.raises(ValueError, match="storage 'float16' is the lattice's"):
        DenseCRF(method="exact", storage="float16")
