"""HTML files that need nothing else: templates filled in, pictures inside them."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image


def render(folder: str, template: str, filters: Mapping[str, Callable[..., Any]] | None = None, **facts: Any) -> str:
    """The text of a template in the folder of `__package__`; facts are escaped, and a missing one is an error."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(filters or {})
    text = resources.files(folder).joinpath(template).read_text("utf-8")
    return environment.from_string(text).render(**facts)


def png_address(image: NDArray[np.uint8]) -> str:
    """A picture, RGB uint8 [H, W, 3], as the address of an <img>."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def svg_address(svg: bytes) -> str:
    """An SVG as the address of an <img>."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")
