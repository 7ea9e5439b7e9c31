"""The examples of the public names run, and their docstrings have the parts that editors and docs sites read."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch

# Modules whose `__all__` others rely on. Packages without one are looked up module by module.
_FRONTS = (
    "deeplab_repro",
    "deeplab_repro.catalog",
    "deeplab_repro.compat.pydensecrf",
    "deeplab_repro.crf",
    "deeplab_repro.inspect",
    "deeplab_repro.layers",
    "deeplab_repro.ops",
    "deeplab_repro.train",
    "deeplab_repro.zoo",
    "deeplab_repro.zoo.models",
    "prototxt_import",
)
# What stands beside `__all__` there.
_MORE = (
    "deeplab_repro.net.graph.Graph",
    "deeplab_repro.net.prepared.PreparedNet",
    "deeplab_repro.ops.aspp.aspp",
    "deeplab_repro.predict.preprocessing.Preprocessing",
    "deeplab_repro.zoo.models.build",
    "deeplab_repro.zoo.models.fresh_net",
)


def _public_names() -> Iterator[tuple[str, str]]:
    """(module, name) of every public class and function."""
    for front in _FRONTS:
        modules = [importlib.import_module(front)]
        if not hasattr(modules[0], "__all__"):
            inside = pkgutil.iter_modules(modules[0].__path__, f"{front}.")
            modules = [importlib.import_module(module.name) for module in inside]
        yield from ((module.__name__, name) for module in modules for name in _of_module(module))
    yield from ((where, name) for where, _, name in (path.rpartition(".") for path in _MORE))


def _of_module(module: ModuleType) -> list[str]:
    """The classes and functions of a module's `__all__`; of all its own public ones where it has none."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    names = [name for name in names if not name.startswith("_")]
    return [name for name in names if inspect.isclass(value := getattr(module, name)) or inspect.isfunction(value)]


PUBLIC = sorted(set(_public_names()))
IDS = [f"{module}.{name}" for module, name in PUBLIC]


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=IDS)
def test_examples_give_what_they_show(module: str, name: str, tmp_path, monkeypatch) -> None:
    value = getattr(importlib.import_module(module), name)
    monkeypatch.chdir(tmp_path)  # some write files
    torch.manual_seed(0)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    told: list[str] = []
    examples = doctest.DocTestFinder(exclude_empty=True).find(value, name, module=False, globs={})
    failed = sum(runner.run(example, out=told.append).failed for example in examples)
    assert failed == 0, "".join(told)


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=IDS)
def test_docstrings_have_their_parts(module: str, name: str) -> None:
    value = getattr(importlib.import_module(module), name)
    missing = [f"{name}: {part}" for part in _missing(value, value.__doc__ or "", example=True)]
    if inspect.isclass(value):
        missing += [f"{name}.{fault}" for fault in _missing_of_members(value)]
    assert not missing, "docstrings without these parts: " + "; ".join(missing)


def _missing_of_members(cls: type) -> Iterator[str]:
    """What the docstrings of public methods and properties lack, those inherited from other libraries left out."""
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] not in ("deeplab_repro", "prototxt_import"):
            continue
        for name, member in vars(base).items():
            if name.startswith("_") or name in _KNOWN_HOOKS:
                continue
            if isinstance(member, property):
                if not (member.__doc__ or "").strip():
                    yield f"{name}: docstring"
                continue
            function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if inspect.isfunction(function):
                text = inspect.getdoc(getattr(cls, name)) or ""
                yield from (f"{name}: {part}" for part in _missing(function, text, example=False))


# Methods of torch's modules whose meaning torch documents.
_KNOWN_HOOKS = ("extra_repr",)


def _missing(value: Any, text: str, example: bool) -> Iterator[str]:
    """The parts that a docstring lacks."""
    if not text.strip():
        yield "docstring"
        return
    if _arguments(value) and not (inspect.isclass(value) and _has(text, "Attributes")):
        if not _has(text, "Args"):
            yield "Args:"
        described = set(re.findall(r"^ +(\w+): ", text, re.MULTILINE))
        yield from (f"{name} in Args:" for name in _arguments(value) if name not in described)
    returned = None if inspect.isclass(value) else inspect.signature(value).return_annotation
    if returned not in (None, "None", "NoReturn") and not _has(text, "Returns") and not _has(text, "Yields"):
        yield "Returns:"
    if example and not (_has(text, "Example") and ">>>" in text):
        yield "Example:"


def _has(text: str, part: str) -> bool:
    return re.search(rf"^ *{part}:$", text, re.MULTILINE) is not None


def _arguments(value: Any) -> list[str]:
    """Names of the arguments that a caller gives, `self` left out."""
    if inspect.isclass(value) and not value.__module__.startswith(("deeplab_repro", "prototxt_import")):
        return []
    if inspect.isclass(value) and issubclass(value, Exception | dict | int):
        return []
    if inspect.isclass(value) and value.__init__ is object.__init__ and not hasattr(value, "_fields"):
        return []
    return [name for name in inspect.signature(value).parameters if name not in ("self", "cls")]
