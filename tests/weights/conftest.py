"""The recipes, which are scripts."""

import importlib.util
import sys

import pytest

from tests.paths import ROOT


@pytest.fixture(scope="module")
def recipe(request):
    """The script that a test module is named after: test_NAME.py tests weights/recipe/NAME.py."""
    name = request.path.stem.removeprefix("test_")
    spec = importlib.util.spec_from_file_location(name, ROOT / "weights" / "recipe" / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
