"""One process of a job of two: one_job.py RANK PORT ARRIVAL BODY, which runs BODY in the job; it waits ARRIVAL
seconds for the other."""

import os
import sys
from datetime import timedelta

rank, port, arrival, body = sys.argv[1:5]
os.environ.update(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)

import torch  # noqa: E402

from deeplab_repro.cli.app import one_line  # noqa: E402
from deeplab_repro.jobs import lifeline, ranks  # noqa: E402

# Five seconds of silence are a loss; a rank that hears of one has a minute to unwind before it is ended.
lifeline.BEAT, lifeline.SILENT, lifeline.GRACE = 0.1, 50, 60.0
ranks.ARRIVAL = timedelta(seconds=int(arrival))
try:
    with ranks.joined(torch.device("cpu")) as job:
        exec(body)
except Exception as error:
    sys.exit(one_line(error))
