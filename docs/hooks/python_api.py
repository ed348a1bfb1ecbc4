"""Write the reference of Python from the names and docstrings of the package."""

import dataclasses
import enum
import inspect
import re
from collections.abc import Iterator
from typing import Any

import geodecloud
from geodecloud.settings.option import choices_of, hints, option_of

_GROUPS = {
    "Functions": inspect.isfunction,
    "Settings": lambda one: hasattr(one, "__mro__") and one.__module__.endswith(".settings"),
    "Results": lambda one: inspect.isclass(one) and not issubclass(one, BaseException),
    "Errors": lambda one: issubclass(one, Exception) and not issubclass(one, Warning),
    "Warnings": lambda one: issubclass(one, Warning),
}
_SECTION = re.compile(r"^(Args|Returns|Raises):$", re.MULTILINE)
_TITLES = {"Args": "Arguments", "Returns": "Returns", "Raises": "Raises"}
_ARRAY = re.compile(
    r"numpy\.ndarray\[.*?numpy\.dtype\[numpy\.(\w+)\]\]"
)  # NDArray, as Python shows it
_ROLE = re.compile(r":(?:func|class|mod|data|attr):`~?([^`]+)`")


def python_api() -> str:
    """Return the page: every name of ``geodecloud.__all__``, in groups."""
    left = {name: getattr(geodecloud, name) for name in geodecloud.__all__ if name[0] != "_"}
    lines: list[str] = []
    for title, belongs in _GROUPS.items():
        found = {name: one for name, one in left.items() if belongs(one)}
        left = {name: one for name, one in left.items() if name not in found}
        lines += [f"### {title}", ""]
        for name, one in found.items():
            lines += _described(name, one)
    return "\n".join(lines)


def _described(name: str, one: Any) -> Iterator[str]:
    yield from (f"#### geodecloud.{name}", "")
    if inspect.isfunction(one):
        yield from ("```python", _signature(name, one), "```", "")
    elif issubclass(one, BaseException):
        bases = ", ".join(f"`{base.__name__}`" for base in one.__bases__)
        yield from (f"A {bases}.", "")
    yield from (docstring(inspect.getdoc(one) or ""), "")
    yield from _members(one)


def _members(one: Any) -> Iterator[str]:
    if not inspect.isclass(one):
        return
    if issubclass(one, enum.IntEnum):
        yield from ("| name | code |", "|---|---|")
        yield from (f"| `{member.name}` | {member.value} |" for member in one)
        yield ""
    elif dataclasses.is_dataclass(one):
        fields = dataclasses.fields(one)
        if all("option" in field.metadata for field in fields):
            yield from ("| option | values | default | |", "|---|---|---|---|")
            yield from (_option(one, field) for field in fields)
        else:
            yield from ("| field | |", "|---|---|")
            yield from (f"| `{field.name}` | {_kind(field.type)} |" for field in fields)
            yield from (
                f"| `{name}` | {_first_line(value)} |"
                for name, value in inspect.getmembers(one)
                if isinstance(value, property)
            )
        yield ""


def _option(part: Any, field: Any) -> str:
    option = option_of(field)
    values = [f"`{one!r}`" for one in choices_of(hints(part)[field.name])]
    default = option.shown_default or f"`{field.default!r}`"
    cells = (f"`{field.name}`", ", ".join(values) or option.unit, default, option.help)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _kind(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return f"`{text}`".replace("|", "\\|")


def _first_line(one: Any) -> str:
    return docstring(inspect.getdoc(one) or "").split("\n\n")[0].replace("\n", " ")


def _signature(name: str, function: Any) -> str:
    lines = []
    for one in inspect.signature(function).parameters.values():
        if one.kind is one.KEYWORD_ONLY and "    *," not in lines:
            lines.append("    *,")
        default = "" if one.default is one.empty else f" = {one.default!r}"
        stars = "**" if one.kind is one.VAR_KEYWORD else ""
        lines.append(f"    {stars}{one.name}: {_annotation(one.annotation)}{default},")
    returned = _annotation(inspect.signature(function).return_annotation)
    return "\n".join([f"{name}(", *lines, f") -> {returned}"])


def _annotation(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _ARRAY.sub(r"NDArray[np.\1]", text)


def docstring(text: str) -> str:
    """Return a docstring as Markdown: its text, then a list for each section."""
    text = _ROLE.sub(r"`\1`", text).replace("``", "`")
    body, *sections = _SECTION.split(text)
    parts = [body.strip()]
    for title, content in zip(sections[::2], sections[1::2], strict=True):
        parts.append(f"**{_TITLES[title]}**")
        entries = inspect.cleandoc(content)
        if title == "Returns":
            parts.append(entries)
        else:
            items = re.split(r"\n(?=\S)", entries)
            parts.append("\n".join(_entry(item) for item in items))
    return "\n\n".join(parts)


def _entry(item: str) -> str:
    names, _, text = " ".join(item.split()).partition(": ")
    return f"- `{names}`: {text}"
