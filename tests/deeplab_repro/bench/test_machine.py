"""What a figure was measured on."""

from deeplab_repro.bench import run


def test_machine_record_names_no_host():
    assert set(run.machine_record()) <= {
        "cpu", "cores", "threads", "cpu_capability", "system", "python", "torch", "gpu", "gpu_memory_gib",
        "multiprocessors", "compute_capability", "cuda", "cudnn",
    }  # fmt: skip
