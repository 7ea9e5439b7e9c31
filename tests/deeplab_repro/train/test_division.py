"""How the processes of a job share an iteration."""

import pytest

from deeplab_repro.jobs.ranks import Ranks


# Neither rows of a batch nor passes can be dealt out: statistics are of whole batches, all of them in their order.
@pytest.mark.parametrize(("batch", "passes"), [(4, 1), (1, 4)])
def test_statistics_of_batches_are_for_one_process(tiny, batch, passes):
    tiny.write(f"iter_size: {passes}", batch=batch)
    tiny.with_batch_norm()
    with pytest.raises(ValueError, match=r"'norm' \(BatchNorm\).* one process"):
        tiny.train("two", ranks=Ranks(0, 2))


def test_batch_that_does_not_divide_is_refused(tiny):
    tiny.write(batch=3)
    with pytest.raises(ValueError, match="neither batch_size 3 nor iter_size 1"):
        tiny.train("two", ranks=Ranks(0, 2))
