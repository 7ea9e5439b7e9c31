"""Data sets on disk: their class tables, lists as released, and what is wrong with labels."""
