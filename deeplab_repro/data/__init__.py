"""Data that needs no download: deterministic labelled scenes."""
