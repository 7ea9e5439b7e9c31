"""The fully connected CRF: model, presets, unaries, tracing, learning."""
