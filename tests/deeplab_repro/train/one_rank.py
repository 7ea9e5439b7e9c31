"""One process of a job: one_rank.py RANK WORLD PORT DIE_AT VERB...; rank 1 ends without a word in update DIE_AT."""

import os
import signal
import sys

rank, world, port, die_at = sys.argv[1:5]
os.environ.update(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=world, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)

from deeplab_repro.cli import main  # noqa: E402
from deeplab_repro.train.optimizer import Optimizer  # noqa: E402

step = Optimizer.step


def dying_step(self, iteration, watch=None):
    if rank == "1" and iteration == int(die_at):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, iteration, watch)


Optimizer.step = dying_step
sys.argv = ["deeplab", *sys.argv[5:]]
main()
