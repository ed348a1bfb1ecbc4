"""Declare every option of restoring a scene, once.

An option is a field of a part. The command line takes the option's name, help text, unit, bounds
and default from the field; a test holds the QGIS dialog to the same. Each part goes only to the
room that needs it.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geodecloud.errors import UsageError
from geodecloud.settings import parse
from geodecloud.settings.option import hints
from geodecloud.settings.parts import (
    MIB,
    Format,
    Limits,
    ModelSpec,
    Monitoring,
    Output,
    Policy,
    Precision,
    Ramp,
    Reading,
    Windows,
)

__all__ = [
    "MIB",
    "Format",
    "Limits",
    "ModelSpec",
    "Monitoring",
    "Output",
    "Policy",
    "Precision",
    "Ramp",
    "Reading",
    "Settings",
    "Windows",
]

_RENAMED = {"keep_veil": "keep_haze", "reference": "references", "co": "creation_options"}
_LIBRARY = re.compile(r"geodecloud(?!\.cli\b)\b")  # the command line shows warnings of its own


@dataclass(frozen=True, init=False)
class Settings:
    """The options of restoring a scene, in five parts.

    Give parts (``Settings(policy=Policy(opaque="keep"))``), options by name
    (``Settings(opaque="keep", provenance="p.tif")``), or both; an option replaces its part's.

    Raises:
        UsageError: an unknown name, or a value that the option does not allow.
    """

    reading: Reading
    windows: Windows
    policy: Policy
    output: Output
    limits: Limits

    def __init__(
        self,
        reading: Reading | None = None,
        windows: Windows | None = None,
        policy: Policy | None = None,
        output: Output | None = None,
        limits: Limits | None = None,
        **options: Any,
    ) -> None:
        parts = {
            "reading": reading or Reading(),
            "windows": windows or Windows(),
            "policy": policy or Policy(),
            "output": output or Output(),
            "limits": limits or Limits(),
        }
        for name, part in self._with_options(parts, options).items():
            object.__setattr__(self, name, part)

    def replace(self, **options: Any) -> Settings:
        """Return the same settings with some options changed, by name."""
        parts = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return Settings(**self._with_options(parts, options))

    @staticmethod
    def _with_options(parts: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        by_part: dict[str, dict[str, Any]] = {}
        homes = {option.name: name for name, option in _fields()}
        for given, value in options.items():
            name = _RENAMED.get(given, given)
            if name != given:
                _deprecate(f"`{given}` is now called `{name}`")
            if name not in homes:
                raise UsageError(f"`{given}` is not an option{_nearest(given, homes)}")
            by_part.setdefault(homes[name], {})[name] = value
        changed = {part: dataclasses.replace(parts[part], **of) for part, of in by_part.items()}
        return parts | changed

    def to_json(self) -> str:
        """Return the options that the output depends on, as JSON for its tags."""
        reading, policy, output = self.reading, self.policy, self.output
        facts = {
            "bands": reading.bands,
            "scale": reading.scale,
            "offset": reading.offset,
            "window": self.windows.window,
            "overlap": self.windows.overlap,
            "ramp": self.windows.ramp,
            "gate": self.windows.gate,
            "clear_below": policy.clear_below,
            "restored_above": policy.restored_above,
            "opaque_above": policy.opaque_above,
            "opaque": policy.opaque,
            "fill_limit": policy.fill_limit,
            "beyond_limit": policy.beyond_limit,
            "shadows": policy.shadows,
            "other_bands": None if policy.other_bands == "restore" else policy.other_bands,
            "extra_bands": reading.extra_bands,
            "wavelengths": reading.wavelengths,
            "references": [_file_name(path) for path in policy.references] or None,
            "keep_veil": reading.keep_haze or None,
            "nodata": reading.nodata,
            "declared_nodata_only": reading.declared_nodata_only or None,
            "mask": _file_name(reading.mask) if reading.mask else None,
            "mask_values": reading.mask_values,
            "mask_buffer": reading.mask_buffer,
            "aoi": reading.aoi,
            "resolution": reading.resolution,
            "format": None if output.format == "gtiff" else output.format,
            "creation_options": output.creation_options or None,
            "dst_nodata": None if output.dst_nodata is None else str(output.dst_nodata),
        }
        return json.dumps({name: value for name, value in facts.items() if value is not None})


def _fields() -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """Yield the part's name and the field, for every option of :class:`Settings`."""
    for name, part in hints(Settings).items():
        for one in dataclasses.fields(part):
            yield name, one


def _deprecate(message: str) -> None:
    """Warn the nearest caller outside of the library: Python shows the warning to scripts alone."""
    frame, level = inspect.currentframe(), 1
    while frame and _LIBRARY.match(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, DeprecationWarning, stacklevel=level)


def _nearest(name: str, known: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _file_name(path: Path | str) -> str:
    return Path(parse.without_query(str(path))).name
