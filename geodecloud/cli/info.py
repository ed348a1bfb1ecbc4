"""Describe a scene or a model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from geodecloud.cli.console import answer, name_options
from geodecloud.cli.options import JsonOption, long_flags, takes_settings
from geodecloud.errors import SceneError, UsageError
from geodecloud.settings import Reading, Settings

_DEFAULTS = Settings()
# Former names of facts in JSON, for scripts that read them.
_OLD_NAMES = {
    "corrected": "path_radiance_removed",
    "veil": "haze",
    "darkest": "dark_object",
    "bands from": "bands_from",
}
_FOR_DEVELOPERS = {"path_radiance_removed", "dark_object"}  # only in JSON
_LABELS = {"bands": "bands of red, green, blue"}  # of a scene, for people


@takes_settings(
    only=("resolution", "extra_bands", "nodata", "declared_nodata_only", "allow_network")
)
def info(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="Scene, provenance, cloud mask, opacity or model file"),
    ],
    as_json: JsonOption = False,
    settings: Settings = _DEFAULTS,
) -> None:
    """Describe a scene and how it would be restored, a raster written beside one, or a model."""
    name_options(long_flags())  # for remedies that restoring would need
    if Path(file).suffix == ".safetensors":
        from geodecloud.model.model_file import read_info

        model = read_info(Path(file))
        facts = {"model": file, "sha256": model.sha256, **model.metadata}
    elif Path(file).suffix == ".pt" and Path(file).is_file():
        raise UsageError(
            f"{file}: is the state of a run; give a model of the run, like last.safetensors beside "
            "it"
        )
    else:
        from geodecloud.raster.scene import open_scene

        try:
            with open_scene(file, reading=settings.reading) as scene:
                facts = scene_facts(scene)
        except (SceneError, UsageError):
            if not (fractions := _code_fractions(file, each=as_json)):
                raise
            facts = fractions
    print_facts(facts, as_json=as_json)


def _code_fractions(file: str, *, each: bool) -> dict[str, Any] | None:
    """Return the fraction of pixels with each code of provenance, a cloud mask or opacity.

    Args:
        each: count each percentage and each reference of provenance by itself.

    Returns:
        None: the file is none of these.
    """
    from geodecloud.raster import cloud_mask, opacity, provenance
    from geodecloud.raster.categories import count_codes

    counted = count_codes(Path(file)) if Path(file).is_file() else None
    if counted is None:
        return None
    kind, (counts, *more) = counted
    if kind == "a cloud mask":
        texts = {str(code.value): text for code, (text, _, _) in cloud_mask.MEANINGS.items()}
        return {"cloud_mask": file, **_fractions(counts, texts)}
    if kind == "opacity":
        cloud, shadow = map(_fractions, (counts, *more), opacity.LEGENDS)
        return {"opacity": file, **cloud, **shadow}
    every = {str(code): provenance.MEANINGS[code][0] for code in counts}
    return {"provenance": file, **_fractions(counts, every if each else provenance.legend())}


def _fractions(counts: Mapping[int, int], texts: Mapping[str, str]) -> dict[str, float]:
    """Return the fraction of pixels with each code, or range of codes like 1-100, that occurs."""
    fractions = {}
    for codes, text in texts.items():
        first, _, last = codes.partition("-")
        pixels = sum(counts.get(code, 0) for code in range(int(first), int(last or first) + 1))
        if pixels:
            fractions[f"{codes}: {text}"] = round(pixels / sum(counts.values()), 6)
    return fractions


def scene_facts(scene: Any, reading: Reading | None = None) -> dict[str, Any]:
    """Return facts about an open scene and the radiometry that restores it, for JSON.

    Args:
        reading: reading of a run, whose doubtful radiometry is refused; None: describe the scene
            in any case.
    """
    from geodecloud.raster.calibration import calibrate
    from geodecloud.raster.dn import json_number
    from geodecloud.raster.provenance import legend
    from geodecloud.raster.wavelengths import find_other_bands

    given = reading.wavelengths if reading else None
    others = {str(one.index + 1): one.wavelength for one in find_other_bands(scene, given)}
    radiometry = calibrate(scene, reading or Reading(force=True))
    height, width = scene.shape
    return {
        "scene": str(scene.path),
        "width": width,
        "height": height,
        "dtype": str(scene.dtype),
        "crs": str(scene.dataset.crs) if scene.dataset.crs else None,
        "bands": list(scene.bands),
        "bands_from": scene.bands_from,
        "wavelengths": others,  # nm, of the other bands that are restored
        "scale": radiometry.scale,
        "offset": radiometry.offset,
        "radiometry": radiometry.origin,
        "radiometry_guessed": radiometry.guessed,
        "path_radiance_removed": round(radiometry.path_radiance_removed, 3),
        "haze": round(radiometry.haze, 3),
        "dark_object": [round(light, 3) for light in radiometry.dark_object],
        "nodata": _whole(json_number(scene.validity.unwritten)),
        "nodata_from": scene.validity.origin or None,
        "provenance_codes": legend(),  # of the provenance that would be written
    }


def print_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print facts as one JSON object, or as a table for people."""
    if as_json:
        old = {old: facts[new] for old, new in _OLD_NAMES.items() if new in facts}
        answer(json.dumps({**facts, **old}))
        return
    if "wavelengths" in facts:
        bands = [f"band {band}: {nm:g} nm" for band, nm in facts["wavelengths"].items()]
        facts = {**facts, "wavelengths": bands}
    labels = _LABELS if "scene" in facts else {}
    shown = {labels.get(name, name): facts[name] for name in facts if name not in _FOR_DEVELOPERS}
    names = max(map(len, shown))
    for name, value in shown.items():
        lines = _readable(value).replace("\n", "\n" + " " * (names + 2))
        answer(f"{name.replace('_', ' '):>{names}}  {lines}")


def _readable(value: Any) -> str:
    if isinstance(value, list) and not any(isinstance(one, list | dict) for one in value):
        return ", ".join(map(_readable, value)) or "none"
    if isinstance(value, dict) and all(isinstance(one, str) for one in value.values()):
        return "\n".join(f"{key} {text}" for key, text in value.items()) or "none"
    if isinstance(value, dict) and all(isinstance(one, float | int) for one in value.values()):
        return ", ".join(f"{key} {number:g}" for key, number in value.items()) or "none"
    if isinstance(value, dict | list):
        return json.dumps(value)
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _whole(number: float | str | None) -> float | int | str | None:
    """Return a whole number without decimals, anything else as it is."""
    if number is None or isinstance(number, str):
        return number
    return int(number) if number == int(number) else float(number)
