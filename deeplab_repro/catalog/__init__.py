"""The original files: what they are, where they were, what must be in them; fetching and checking them."""

from deeplab_repro.catalog.entries import Catalog, Entry, Lists, read_catalog
from deeplab_repro.catalog.store import Store, default_folder
from deeplab_repro.catalog.tensors import Expected, check_tensors, expected_tensors

__all__ = [
    "Catalog",
    "Entry",
    "Expected",
    "Lists",
    "Store",
    "check_tensors",
    "default_folder",
    "expected_tensors",
    "read_catalog",
]
