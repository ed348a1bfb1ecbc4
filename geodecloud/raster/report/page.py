"""Fill the page of a scene: figures, settings and pictures of its restoration."""

import functools
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from geodecloud.errors import OutputError
from geodecloud.raster.bands import COLOURS
from geodecloud.raster.report.charts import histograms
from geodecloud.raster.report.html import as_json, as_text, percent, rows_of, sentence
from geodecloud.raster.report.legend import bar_of, legend_of, ramp_of
from geodecloud.raster.report.pictures import OPACITY, SHADOW, Pictures
from geodecloud.raster.run_facts import RunFacts
from geodecloud.raster.scene import Scene
from geodecloud.version import VERSION

_PICTURE = "<!--picture-->"  # stands in for a data URI; no escaped text can look like it
_HEAD = 1 << 18  # characters at the beginning of a report that hold its facts and two thumbnails
_ALWAYS = ("changed", "invented")  # figures that are shown even if they are 0
_TITLES = {"provenance": "Provenance", "opacity": "Cloud opacity", "shadow": "Cloud shadow"}


def write_page(path: Path, run: RunFacts, pictures: Pictures) -> None:
    """Write the report of a scene.

    Raises:
        OutputError: the report cannot be written.
    """
    layers = ["provenance", "opacity", *(["shadow"] if pictures.has_shadow else [])]
    text = _page(run, pictures, layers)
    *parts, last = text.split(_PICTURE)
    try:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for part, name in zip(parts, ["before", "after", *layers], strict=True):
                file.write(part)
                file.write(pictures.encoded(name))
            file.write(last)
    except OSError as error:
        raise OutputError(f"{path.parent}: cannot write report ({error.strerror})") from error


def _page(run: RunFacts, pictures: Pictures, layers: list[str]) -> str:
    name = run.scene.path.name
    return template("page.html").substitute(
        title=as_text(name),
        style=asset("style.css"),
        script=asset("page.js"),
        facts=as_json(_facts(run, pictures)),
        warnings=_warnings(run.warnings),
        figures=_figures(run.fractions),
        width=pictures.width,
        height=pictures.height,
        picture=_PICTURE,
        layers="\n".join(map(_layer, layers)),
        switches="\n".join(map(_switch, layers)),
        scaling=_scaling(pictures),
        bar=bar_of(pictures.codes),
        legend=legend_of(pictures.codes),
        used=rows_of(_used(run)),
        settings=rows_of(run.settings),
        histograms=histograms(pictures.histograms),
        version=as_text(VERSION),
    )


@functools.cache
def asset(name: str) -> str:
    """Return the text of a file of this package."""
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def template(name: str) -> Template:
    """Return a page of this package as a template."""
    return Template(asset(name))


def _facts(run: RunFacts, pictures: Pictures) -> dict[str, Any]:
    """Return the facts that programs and the page of a batch read from a report."""
    height, width = run.scene.shape
    return {
        "geodecloud": VERSION,
        "source": run.scene.path.name,
        "width": width,
        "height": height,
        **run.fractions,
        "warnings": len(run.warnings),
        "before": pictures.thumbnail("before"),
        "after": pictures.thumbnail("after"),
    }


def _warnings(messages: tuple[str, ...]) -> str:
    if not messages:
        return ""
    items = "\n".join(f"<li>{sentence(message)}</li>" for message in dict.fromkeys(messages))
    return f'<section class="warnings"><h2>Warnings</h2>\n<ul>{items}</ul></section>'


def _figures(fractions: Mapping[str, float]) -> str:
    texts = {
        "changed": "changed, of all pixels with data",
        "invented": "invented: filled with the colour of the land around",
        "reference": "taken from a reference image",
        "shadow": "relit in a cloud's shadow",
    }
    shares = {kind: fractions[f"{kind}_fraction"] for kind in texts}
    shown = {kind: share for kind, share in shares.items() if share or kind in _ALWAYS}
    return "\n".join(
        f'<div class="figure"><dt>{texts[kind]}</dt><dd>{percent(share)}</dd></div>'
        for kind, share in shown.items()
    )


def _layer(name: str) -> str:
    return (
        f'<div class="pane" id="layer-{name}" hidden>'
        f'<img class="picture" alt="{_TITLES[name]}" src="{_PICTURE}"></div>'
    )


def _switch(name: str) -> str:
    ramps = {"opacity": ramp_of(OPACITY), "shadow": ramp_of(SHADOW)}
    key = ramps.get(name, "")
    return (
        f'<label class="switch"><input type="checkbox" data-layer="layer-{name}"> '
        f"{_TITLES[name]}{key}</label>"
    )


def _scaling(pictures: Pictures) -> str:
    if pictures.step == 1:
        return "The pictures have the scene's own pixels."
    return (
        f"The scene is large: the pictures have every {_nth(pictures.step)} pixel of every "
        f"{_nth(pictures.step)} row."
    )


def _nth(number: int) -> str:
    last = 0 if number // 10 % 10 == 1 else number % 10
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"


def _used(run: RunFacts) -> dict[str, Any]:
    scene, radiometry = run.scene, run.radiometry
    height, width = scene.shape
    metres, crs = scene.pixel_metres, scene.dataset.crs
    colours = zip(COLOURS, scene.bands, strict=True)
    bands = ", ".join(f"{colour} {_band(scene, band)}" for colour, band in colours)
    facts = {
        "Scene": scene.path.name,
        "Size": f"{width} x {height} pixels",
        "Pixel": f"{metres[1]:g} x {metres[0]:g} m" if metres else None,
        "CRS": (crs.to_string() if crs.to_epsg() else "see the GeoTIFF") if crs else "none",
        "Data type": str(scene.dtype),
        "Bands": f"{bands}; {scene.bands_from}",
        "Other bands restored": ", ".join(_band(scene, one) for one in run.others) or None,
        "Scale": f"{radiometry.scale:g}",
        "Offset": f"{radiometry.offset:g}",
        "Scale and offset from": radiometry.origin + (", a guess" if radiometry.guessed else ""),
        "Haze removed": percent(radiometry.haze) if radiometry.haze else None,
        "Nodata": "none" if run.nodata is None else f"{run.nodata:g}",
        "Model": run.model_name or None,
        "Version": f"geodecloud {VERSION}",
    }
    return {name: value for name, value in facts.items() if value is not None}


def _band(scene: Scene, band: int) -> str:
    """Return a band's number and name."""
    name = scene.dataset.descriptions[band - 1]
    return f"{band} ({name})" if name else str(band)


def read_facts(path: Path) -> dict[str, Any] | None:
    """Return the facts of a report, see :func:`_facts`; None: not a report, or damaged."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.read(_HEAD)
        text = head.split('id="facts">', 1)[1].split("</script>", 1)[0]
        facts = json.loads(text)
    except (OSError, LookupError, ValueError):
        return None
    return facts if isinstance(facts, dict) and "geodecloud" in facts else None
