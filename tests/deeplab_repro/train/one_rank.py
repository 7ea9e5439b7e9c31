"""One process of a job: one_rank.py RANK WORLD PORT SIGNAL AT VERB...; rank 1 gets SIGNAL, which is STOP or KILL, in
update AT."""

import os
import signal
import sys

rank, world, port, name, at = sys.argv[1:6]
os.environ.update(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=world, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)

from deeplab_repro.cli import main  # noqa: E402
from deeplab_repro.jobs import lifeline  # noqa: E402
from deeplab_repro.train.optimizer import Optimizer  # noqa: E402

if name == "STOP":
    lifeline.BEAT, lifeline.GRACE = 0.2, 4.0
step = Optimizer.step


def struck_step(self, iteration, watch=None):
    if rank == "1" and iteration == int(at):
        os.kill(os.getpid(), signal.Signals[f"SIG{name}"])
    return step(self, iteration, watch)


Optimizer.step = struck_step
sys.argv = ["deeplab", *sys.argv[6:]]
main()
