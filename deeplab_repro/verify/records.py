"""The published numbers: weights/published.toml as typed records, one per number."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from deeplab_repro.files.shipped import shipped
from deeplab_repro.files.tables import read_toml, typed_row

PUBLISHED = shipped("published.toml")
# How a number can be checked; the file's head says what each means.
CHECKS = ("here", "timing", "gpu", "data", "test server", "never")
PAPERS = {
    "v1": "DeepLab v1 (arXiv 1412.7062)",
    "v2": "DeepLab v2 (arXiv 1606.00915)",
    "others": "Other people's figures",
    "crf": "CRF parameters",
    "own": "Models of this project",
    "orderings": "The papers' orderings, in the small",
}


@dataclass(frozen=True)
class Record:
    """One published number.

    Its fields are those of weights/published.toml, which explains them; `series` is the id of the curve or setting that
    it is a point of, empty for a number of its own.
    """

    id: str
    paper: str
    source: str
    model: str
    metric: str
    value: float
    check: str
    unit: str = ""
    backbone: str = ""
    dataset: str = ""
    split: str = ""
    labels: str = "SegmentationClass"
    train_set: str = ""
    options: str = ""
    tolerance: float = 0.0
    quantity: str = ""
    of: str = ""
    weights: str = ""
    crf: str = ""
    conflict: tuple[str, ...] = ()
    why: str = ""
    status: str = ""
    evidence: str = ""
    note: str = ""
    series: str = ""

    def agrees(self, ours: float) -> bool:
        """Whether a value of ours is the published one within its tolerance.

        Args:
            ours: In the record's unit.

        Returns:
            The answer.
        """
        return abs(ours - self.value) <= self.tolerance + 1e-9

    @property
    def width(self) -> int:
        """Half width in pixels of the band a trimap number is measured in; 0 for all others."""
        return int(self.options.rpartition("w=")[2]) if self.metric.startswith("trimap_") else 0


@dataclass(frozen=True)
class Published:
    """All that is published.

    Args:
        records: In the order of the file.
        images: How many images each split of a data set has, by data set and split.
    """

    records: tuple[Record, ...]
    images: Mapping[str, Mapping[str, int]]

    def record(self, name: str) -> Record:
        """Look a record up.

        Args:
            name: Its id.

        Returns:
            The record.

        Raises:
            KeyError: There is none.
        """
        for record in self.records:
            if record.id == name:
                return record
        raise KeyError(name)


def read_published(path: str | os.PathLike[str] = PUBLISHED) -> Published:
    """Read the records.

    Args:
        path: The file; by default the one that comes with the package.

    Returns:
        The records.

    Raises:
        ValueError: Something is unknown, missing or doubled; the message names file, row and field.
        OSError: The file cannot be read.
    """
    data = read_toml(path)
    records: list[Record] = []
    seen: set[str] = set()
    for facts in _rows(data):
        record = _record(facts, f"{path}: row {facts.get('id', 'without id')}")
        if record.id in seen:
            raise ValueError(f"{path}: row {record.id}: the id is used twice")
        seen.add(record.id)
        records.append(record)
    for record in records:
        for other in record.conflict:
            if other not in seen:
                raise ValueError(f"{path}: row {record.id}: conflict names {other!r}, which is no row")
    return Published(tuple(records), data.get("images", {}))


def _record(facts: dict[str, Any], where: str) -> Record:
    record = typed_row(Record, facts, where)
    if record.check not in CHECKS:
        raise ValueError(f"{where}: check is {record.check!r}, must be one of {', '.join(CHECKS)}")
    if record.check == "data" and not record.weights:
        raise ValueError(f"{where}: a score needs the name of its weights")
    return replace(record, value=float(record.value))


def _rows(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every number with what its table, curve or setting says about it."""
    for table in data.get("table", ()):
        shared = {key: value for key, value in table.items() if key != "rows"}
        for row in table["rows"]:
            yield {**shared, **row}
    shared = data.get("trimap_shared", {})
    for curve in data.get("trimap", ()):
        own = {key: value for key, value in curve.items() if key not in ("ids", "values")}
        names = curve.get("ids", {})
        for width, value in enumerate(curve["values"], 1):
            name = names.get(str(width), f"{curve['id']}.{width:02d}")
            options = f"void dilated by square 2w+1, w={width}"
            yield {**shared, **own, "id": name, "options": options, "value": value, "series": curve["id"]}
    for setting in data.get("crf", ()):
        yield from _setting(setting)


def _setting(setting: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The six parameters of a CRF setting as rows of their own."""
    bilateral = zip(("bilateral_weight", "bilateral_xy_std", "bilateral_rgb_std"), setting["bilateral"], strict=True)
    gaussian = zip(("gaussian_weight", "gaussian_xy_std"), setting["gaussian"], strict=True)
    for metric, value in (*bilateral, *gaussian, ("iterations", setting["iterations"])):
        yield {
            "id": f"CRF.{setting['preset']}.{metric}",
            "paper": "crf",
            "source": "Settings of the dense CRF",
            "model": setting["model"],
            "metric": metric,
            "unit": {"xy_std": "px", "rgb_std": "grey levels"}.get(metric.partition("_")[2], ""),
            "value": value,
            "check": "here",
            "quantity": "crf_parameter",
            "of": setting["preset"],
            "evidence": setting["evidence"],
            "series": setting["preset"],
        }
