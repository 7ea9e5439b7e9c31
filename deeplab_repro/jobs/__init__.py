"""What work runs on: processes, ranks of a job, devices."""
