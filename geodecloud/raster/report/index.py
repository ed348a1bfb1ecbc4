"""Write the page of a batch: a sortable table of its scenes, with thumbnails."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from geodecloud.errors import OutputError
from geodecloud.raster.atomic import atomic_write
from geodecloud.raster.report.html import as_text, percent
from geodecloud.raster.report.page import asset, read_facts, template
from geodecloud.version import VERSION

_COLUMNS = {"changed_fraction": "Changed", "invented_fraction": "Invented"}  # sortable
_NO_PICTURE = "<td></td>"


@dataclass(frozen=True)
class Result:
    """Outcome of a scene.

    source: the scene's path.
    error: one line; None: the scene was restored.
    report: the scene's own page; None: there is none.
    fractions: by name, see :meth:`geodecloud.raster.counts.Counts.fractions`.
    warnings: number of warnings.
    """

    source: str
    error: str | None
    report: Path | None
    fractions: Mapping[str, float]
    warnings: int = 0


def write_index(path: Path, results: Sequence[Result]) -> None:
    """Write the page of a batch, replacing an older one.

    Raises:
        OutputError: the page cannot be written.
    """
    failed = sum(1 for one in results if one.error)
    text = template("index.html").substitute(
        style=asset("style.css"),
        script=asset("index.js"),
        folder=as_text(path.absolute().parent.name),
        summary=f"Scenes restored: {len(results) - failed}; failed: {failed}.",
        heads="\n".join(map(_head, _COLUMNS, _COLUMNS.values())),
        rows="\n".join(_row(one, path.absolute().parent) for one in results),
        version=as_text(VERSION),
    )
    try:
        with atomic_write(path) as unfinished:
            unfinished.write_text(text, "utf-8", newline="\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def _head(name: str, title: str) -> str:
    return (
        f'<th scope="col" class="number" aria-sort="none"><button type="button" '
        f'data-sort="{name}">{title}</button></th>'
    )


def _row(result: Result, folder: Path) -> str:
    name = as_text(Path(result.source).name)
    keys = f'data-source="{as_text(result.source)}" '
    if result.error:
        return (
            f'<tr {keys}>{_NO_PICTURE * 2}<th scope="row">{name}</th>'
            f'<td colspan="{len(_COLUMNS) + 1}" class="failed">{as_text(result.error)}</td></tr>'
        )
    facts = (read_facts(result.report) if result.report else None) or {}
    shares = {one: result.fractions.get(one) for one in _COLUMNS}
    keys += " ".join(
        f'data-{one}="{share:.6f}"' for one, share in shares.items() if share is not None
    )
    pictures = (_picture(facts.get(one), f"{one}: {name}") for one in ("before", "after"))
    numbers = ("" if share is None else percent(share) for share in shares.values())
    return (
        f'<tr {keys}>{"".join(pictures)}<th scope="row">{_link(result, folder, name)}</th>'
        + "".join(f'<td class="number">{number}</td>' for number in numbers)
        + f'<td class="number">{result.warnings or ""}</td></tr>'
    )


def _picture(uri: object, alt: str) -> str:
    if not isinstance(uri, str) or not uri.startswith("data:image/jpeg;base64,"):
        return _NO_PICTURE
    return f'<td><img src="{as_text(uri)}" alt="{alt}"></td>'


def _link(result: Result, folder: Path, name: str) -> str:
    if result.report is None or not result.report.is_file():
        return name
    way = Path(os.path.relpath(result.report, folder)).as_posix()
    return f'<a href="./{quote(os.fsencode(way))}">{name}</a>'
