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
    """Fill in a template, which takes the style that all pages share by `{% include "page.j2" %}`.

    Args:
        folder: The `__package__` that holds it.
        template: Its file name.
        filters: Functions that it may call, by name.
        facts: What it shows, escaped; one that is missing is an error.

    Returns:
        HTML text.
    """
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda name: resources.files(__package__).joinpath(name).read_text("utf-8")),
    )
    environment.filters.update(filters or {})
    text = resources.files(folder).joinpath(template).read_text("utf-8")
    return environment.from_string(text).render(**facts)


def png_address(image: NDArray[np.uint8]) -> str:
    """Embed a picture.

    Args:
        image: RGB uint8 [H, W, 3].

    Returns:
        The address of an <img>.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def svg_address(svg: bytes) -> str:
    """Embed an SVG.

    Args:
        svg: The file's bytes.

    Returns:
        The address of an <img>.
    """
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")
