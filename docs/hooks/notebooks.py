"""Make pages of the notebooks: text, code, and the figures of their last run."""

import re
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
from nbconvert import MarkdownExporter

_LINKS = (
    (r"\]\(\.\./docs/", r"](../"),  # to a page of the docs
    (r"\]\((\w+)\.py", r"](\1.md"),  # to another notebook
)


def notebook_pages(folder: Path) -> Iterator[tuple[str, str | bytes]]:
    """Yield the pages and pictures of all scripts of a folder: path in the site, content.

    ``make notebooks`` runs a script and writes it with its figures as ``NAME.ipynb`` beside it.
    Without that file the page has text and code alone.
    """
    for script in sorted(folder.glob("*.py")):
        ran = script.with_suffix(".ipynb")
        notebook = nbformat.read(ran, as_version=4) if ran.exists() else jupytext.read(script)
        resources = {"output_files_dir": script.stem}
        page, found = MarkdownExporter().from_notebook_node(notebook, resources)
        for pattern, target in _LINKS:
            page = re.sub(pattern, target, page)
        yield f"examples/{script.stem}.md", page
        for name, picture in found["outputs"].items():
            yield f"examples/{name}", picture
