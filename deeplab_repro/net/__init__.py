"""A NetSpec as a torch module: run, loaded, stored, folded for inference."""
