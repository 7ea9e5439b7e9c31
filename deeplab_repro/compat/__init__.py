"""Stand-ins for other projects' modules: a script changes its import and nothing else."""
