"""Turn values into HTML; all text from outside is escaped here."""

import html
import json
import re
from collections.abc import Mapping
from typing import Any


def as_text(value: Any) -> str:
    """Return a value as text for a page or an attribute; bytes that are not UTF-8 are replaced."""
    known = str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return html.escape(known)


def sentence(message: str) -> str:
    """Return a message as text, with names in backticks as code."""
    return re.sub(r"`(\w+)`", r"<code>\1</code>", as_text(message))


def as_json(value: Any) -> str:
    """Return a value as JSON that is safe inside a script element."""
    return json.dumps(value).replace("<", "\\u003c")


def percent(share: float) -> str:
    """Return a fraction as a percentage; a small one does not round to 0."""
    return "under 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def rows_of(facts: Mapping[str, Any]) -> str:
    """Return names and values as the rows of an HTML table."""
    return "\n".join(
        f'<tr><th scope="row">{as_text(name)}</th><td>{as_text(_plain(value))}</td></tr>'
        for name, value in facts.items()
    )


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
