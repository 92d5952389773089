"""A page that fetches nothing: one HTML file whose policy allows its own style and script and no other.

The templates, style and script lie in the folder `pages`. Whatever a template puts in is made printable (`files.shown`:
no line ends, no marks that turn the direction of writing, no bytes that are no text) and escaped.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from tellapart.files import shown

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = "pages"


def render(template: str, *, script: str, styles: Sequence[str] = ("page.css",), **values: Any) -> Iterator[str]:
    """Render a template piece by piece; every piece can be encoded as UTF-8.

    Args:
        template: the name of a file in `pages` that extends ``frame.html``.
        script: the name of the page's script there.
        styles: the names of its styles there, one after the other.
        values: what the template names; text is escaped, markup with `__html__` is not.
    """
    from markupsafe import Markup

    style, code = "".join(map(source, styles)), source(script)
    policy = (
        f"default-src 'none'; img-src data:; style-src {_allowed(style)}; script-src {_allowed(code)}; "
        "base-uri 'none'; form-action 'none'"
    )
    yield from (
        _environment()
        .get_template(template)
        .generate(style=Markup(style), script=Markup(code), policy=policy, **values)
    )


def source(name: str) -> str:
    """A file of `pages` as text, its line ends ``\\n``: a browser hashes it like this too."""
    text = resources.files("tellapart").joinpath(FOLDER, name).read_text("utf-8")
    return text.replace("\r\n", "\n")


def _allowed(text: str) -> str:
    """How a policy names one inline style or script (Content Security Policy Level 3, 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        loader=FunctionLoader(source),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _printable(value: Any) -> Any:
    """Text in its printable form; all else, markup among it, as it is."""
    return shown(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
