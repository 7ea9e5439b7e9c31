"""Every published number beside ours, with a verdict."""

from deeplab_repro.verify.records import Published, Record, read_published

__all__ = ["Published", "Record", "read_published"]
