"""One process of a job of two: one_job.py RANK PORT BODY, which runs BODY in the job, rank 0 waiting as it says."""

import os
import sys
from datetime import timedelta

rank, port, body = sys.argv[1:4]
os.environ.update(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)

import torch  # noqa: E402

from deeplab_repro.cli.app import one_line  # noqa: E402
from deeplab_repro.jobs import lifeline, ranks  # noqa: E402

lifeline.BEAT, lifeline.GRACE, ranks.ARRIVAL = 0.1, 1.0, timedelta(seconds=3)
try:
    with ranks.joined(torch.device("cpu")) as job:
        exec(body)
except Exception as error:
    sys.exit(one_line(error))
