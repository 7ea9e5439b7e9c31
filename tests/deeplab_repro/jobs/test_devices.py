"""Devices by name, and of each process of a job."""

import pytest
import torch

from deeplab_repro.jobs import devices
from deeplab_repro.jobs.devices import local_device, pick_device


def test_cuda_is_refused_where_it_is_not(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="no CUDA device"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices, "_built_with_cuda", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="built without CUDA"):
        pick_device("cuda")


def test_this_build_says_whether_it_has_cuda():
    assert devices._built_with_cuda() in (True, False)


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="device tpu9: unknown; choose auto, cpu or cuda"):
        pick_device("tpu9")


def test_each_process_of_a_job_takes_its_own_gpu(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert local_device(torch.device("cuda")) == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert local_device(torch.device("cpu")) == torch.device("cpu")
    assert chosen == []
    assert local_device(torch.device("cuda")) == torch.device("cuda", 3)
    assert chosen == [torch.device("cuda", 3)]
