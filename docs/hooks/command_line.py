"""Write the reference of the command line from the program itself."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from geodecloud.cli.main import app


class _Markdown:
    """Takes what a command writes for ``--help``, and keeps it as Markdown."""

    width = 100

    def __init__(self) -> None:
        self.usages: list[str] = []
        self.tables: list[str] = []

    def write_usage(self, program: str, words: str = "", _prefix: str | None = None) -> None:
        self.usages.append(f"{program} {words}".strip())

    @contextmanager
    def section(self, title: str) -> Iterator[None]:
        self.tables += [f"**{title}**", ""]
        yield
        if title == "Arguments":
            self.tables = [line.replace("| option |", "| argument |") for line in self.tables]

    def write_dl(self, rows: list[tuple[str, str]]) -> None:
        self.tables += ["| option | meaning |", "|---|---|"]
        for left, right in rows:
            self.tables.append(f"| `{_cell(left, code=True)}` | {_cell(right)} |")
        self.tables.append("")


def command_line() -> str:
    """Return the page: each command, its usage, text, arguments and options."""
    program = typer.main.get_command(app)
    return "\n".join(_commands(program, None, "geodecloud"))


def _commands(command: Any, parent: Any, name: str) -> Iterator[str]:
    last = name.rpartition(" ")[2]
    context = command.make_context(last, [], parent=parent, resilient_parsing=True)
    if isinstance(command, TyperGroup):
        if parent:
            yield from _described(command, name)
        for below in command.list_commands(context):
            yield from _commands(command.commands[below], context, f"{name} {below}")
        return
    page = _Markdown()
    command.format_usage(context, page)
    command.format_options(context, page)
    yield from _described(command, name)
    yield from ("```", *page.usages, "```", "")
    yield from page.tables


def _described(command: Any, name: str) -> Iterator[str]:
    text = re.sub(r"[ \n]+", " ", (command.help or "").replace("\n\n", "\0")).replace("\0", "\n\n")
    yield from (f"## {name}", "", _cell(text), "")


def _cell(text: str, *, code: bool = False) -> str:
    text = text.replace("|", "\\|")
    if code:
        return text
    text = text.replace("<", "&lt;").replace("*", "\\*")
    return re.sub(r"(?<![\w-])(--[a-z][a-z-]+)", r"`\1`", text)
