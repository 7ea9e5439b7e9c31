"""Deterministic drawn street scenes with labels: data that needs no download."""
