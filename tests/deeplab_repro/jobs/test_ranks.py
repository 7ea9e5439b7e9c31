"""How processes find each other, and what each says of those that do not come."""

import pytest


def test_a_rank_that_does_not_come_is_named(job):
    ((code, line),) = job("pass", None)
    assert code == 1
    assert "rank 1 did not come within 3 s" in line
    ((code, line),) = job(None, "pass")
    assert code == 1
    assert "rank 0 does not answer" in line


def test_half_an_environment_is_refused(monkeypatch):
    import torch

    from deeplab_repro.jobs.ranks import joined

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ValueError, match="RANK is not set"), joined(torch.device("cpu")):
        pass
