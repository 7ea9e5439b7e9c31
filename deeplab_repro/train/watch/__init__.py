"""Those who watch a training run: the console, the log, the curve, the pictures."""
