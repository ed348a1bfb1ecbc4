"""Write the outputs of a run together: the restored scene, and the files beside it.

These may be provenance, opacity, a cloud mask, a preview, a report and a STAC item.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from geodecloud.errors import NodataWarning, OutputError, warn
from geodecloud.radiometry import Radiometry
from geodecloud.raster.atomic import AtomicFiles
from geodecloud.raster.cloud_mask import cloud_mask_style, create_cloud_mask
from geodecloud.raster.counts import Counts, count
from geodecloud.raster.endings import refuse_wrong_ending
from geodecloud.raster.nodata import NodataCheck, output_nodata
from geodecloud.raster.opacity import create_percent, opacity_style
from geodecloud.raster.preview import Preview
from geodecloud.raster.profile import refuse_unknown_options
from geodecloud.raster.provenance import Provenance, create_provenance, provenance_style
from geodecloud.raster.report.page import write_page
from geodecloud.raster.report.pictures import Pictures
from geodecloud.raster.rows import Rows, given
from geodecloud.raster.run_facts import RunFacts
from geodecloud.raster.scene import Scene
from geodecloud.raster.stac import item_path, require_pystac, write_item
from geodecloud.raster.stale import StaleOutputs, is_own_style
from geodecloud.raster.wavelengths import OtherBand
from geodecloud.raster.writer import create_like
from geodecloud.settings import Output
from geodecloud.version import VERSION

# Rasters beside the restored scene, by their option: the function that opens one, its QGIS style.
_BESIDE = {
    "provenance": (create_provenance, provenance_style),
    "opacity": (create_percent, opacity_style),
    "cloud_mask": (create_cloud_mask, cloud_mask_style),
}


class Outputs:
    """The files of a run, which appear together when the ``with`` block ends well.

    Args:
        dst: path of the restored scene.
        output: the other files to write, and their format.
        protected: files that are never replaced.
        others: bands that change besides red, green and blue.

    Attributes:
        nodata: the DN that means nodata in the output; None: there is none.
        unwritten: the DN that no restored pixel may take: ``nodata``, else the scene's undeclared
            fill.

    Raises:
        UsageError: the output settings do not fit the scene.
        OutputError: on entry, a file exists or cannot be written.
    """

    def __init__(
        self,
        scene: Scene,
        dst: Path,
        output: Output,
        protected: Iterable[Path],
        others: Iterable[OtherBand] = (),
    ) -> None:
        self._others = tuple(band.index + 1 for band in others)
        asked = (*_BESIDE, "report", "preview")
        named: dict[str, Path | None] = {"dst": dst} | {
            name: getattr(output, name) for name in asked
        }
        for name, path in named.items():
            if path:
                refuse_wrong_ending(name, path)
        self._rasters = {name: path for name, path in named.items() if path and name in _BESIDE}
        self._refuse_shared_styles(dst)
        if output.stac:
            require_pystac()
        refuse_unknown_options(output, [str(scene.dtype)])
        self._scene, self._dst, self._output = scene, dst, output
        self._panels: Preview | None = None
        self._pictures: Pictures | None = None
        self._protected = list(protected)
        self.nodata = output_nodata(scene, output)
        self.unwritten = scene.validity.unwritten if self.nodata is None else self.nodata

    def __enter__(self) -> Self:
        output, scene = self._output, self._scene
        self._stale = self._find_stale()
        with ExitStack() as files:
            parts = files.enter_context(self._parts())
            self._item = parts.add(item_path(self._dst)) if output.stac else None
            restored = parts.add(self._dst)
            rasters = {name: parts.add(path) for name, path in self._rasters.items()}
            for path, text in self._styles().items():
                parts.add(path).write_text(text, "utf-8")
            self._preview = parts.add(output.preview) if output.preview else None
            self._report = parts.add(output.report) if output.report else None
            self._restored = files.enter_context(
                create_like(scene, restored, output, {*scene.bands, *self._others})
            )
            self._beside = {
                name: files.enter_context(_BESIDE[name][0](scene, path, output))
                for name, path in rasters.items()
            }
            self._files = files.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._files.__exit__(kind, error, traceback)
        if kind is None:
            self._stale.remove()

    def check(self) -> list[Path]:
        """Return the paths that would be written, without writing any.

        Raises:
            OutputError: a path exists, cannot be written, or is named twice.
        """
        paths = self._paths()
        self._parts().check_all(paths)
        self._find_stale()
        return paths

    def _paths(self) -> list[Path]:
        output = self._output
        item = item_path(self._dst) if output.stac else None
        beside = (*self._rasters.values(), *self._styles())
        return [self._dst, *beside, *filter(None, (output.preview, output.report, item))]

    def _find_stale(self) -> StaleOutputs:
        """Return the existing outputs that will not fit the new scene.

        Raises:
            OutputError: there are some, and nothing may be replaced.
        """
        stale = StaleOutputs(self._dst, (*self._paths(), *self._protected))
        if not self._output.overwrite and not self._dst.exists():
            stale.refuse()
        return stale

    def _styles(self) -> dict[Path, str]:
        """Return the QGIS styles to write, by path; a user's style stays."""
        paths = {path.with_suffix(".qml"): name for name, path in self._rasters.items()}
        replace = self._output.overwrite
        return {
            path: _BESIDE[name][1]()
            for path, name in paths.items()
            if not path.exists() or (replace and is_own_style(path))
        }

    def _refuse_shared_styles(self, dst: Path) -> None:
        """Refuse names that differ in the suffix alone: QGIS takes one style for both.

        Raises:
            OutputError: two rasters have such names.
        """
        seen: dict[Path, Path] = {}
        for path in (dst, *self._rasters.values()):
            other = seen.setdefault(path.with_suffix(""), path)
            if other.suffix != path.suffix:
                raise OutputError(
                    f"{path}: would share the style {path.stem}.qml with {other}; name another"
                )

    def _parts(self) -> AtomicFiles:
        return AtomicFiles(self._protected, overwrite=self._output.overwrite)

    def write(
        self, rows: Iterator[Rows], radiometry: Radiometry, settings: str, model_name: str
    ) -> Counts:
        """Write all rows of the scene, in the order in which they come.

        Args:
            settings: the settings as JSON, for the tags, the STAC item and the report.
            model_name: for the same.

        Returns:
            the counts of pixels and windows over all rows.

        Raises:
            OutputError: a file cannot be written, for example because the disk is full.
            UsageError: clear pixels have the DN ``dst_nodata``.
        """
        scene, options = self._scene, json.loads(settings)
        tags = origin_tags(scene, settings, model_name)
        self._restored.tag(tags | radiometry_tags(scene, radiometry))
        for writer in self._beside.values():
            writer.tag(tags)
        if self._preview:
            panels = Preview(self._preview, *scene.shape, radiometry)
            self._panels = self._files.enter_context(panels)
        if self._report:
            pictures = Pictures(self._report.parent, scene.shape, radiometry)
            self._pictures = self._files.enter_context(pictures)
        counts = self._write_rows(rows)
        if not counts.valid:
            warn(NodataWarning, f"{scene.path}: no pixel has data, so nothing was restored")
        fractions = counts.fractions()
        self._restored.tag({name.upper(): f"{share:.6f}" for name, share in fractions.items()})
        self._run = RunFacts(
            scene=scene,
            radiometry=radiometry,
            fractions=fractions,
            settings=options,
            model_name=model_name,
            others=self._others,
            nodata=self.nodata,
        )
        if self._item:
            write_item(self._item, self._dst, self._output, self._run)
        return counts

    def write_report(self, warnings: Iterable[str]) -> None:
        """Write the report, if the settings name one; call it after all rows.

        Args:
            warnings: the run's warnings, one line each.

        Raises:
            OutputError: the report cannot be written.
        """
        if self._report and self._pictures:
            run = replace(self._run, warnings=tuple(warnings))
            write_page(self._report, run, self._pictures)

    def _write_rows(self, rows: Iterator[Rows]) -> Counts:
        counts, check = Counts(), NodataCheck(self._scene, self._output)
        for some in rows:
            counts += self._write_some(some, check)
            del some  # free its memory while waiting for the next
        check.finish()
        return counts

    def _write_some(self, rows: Rows, check: NodataCheck) -> Counts:
        """Write some rows to every output."""
        rgb, first = self._scene.rgb, rows.first
        out, provenance = given(rows.out), given(rows.provenance)
        hidden = provenance == Provenance.CLOUD_REMOVED
        check.add(rows.dn, out, (provenance != Provenance.NODATA) & ~hidden)
        self._restored.write(out, hidden)
        layers = {"provenance": provenance, "opacity": rows.percent, "cloud_mask": rows.classes}
        for name, writer in self._beside.items():
            writer.write(given(layers[name]).reshape(-1, *provenance.shape))
        if self._panels:
            self._panels.add(first, rows.dn[rgb], out[rgb], provenance)
        if self._pictures:
            self._pictures.add(first, (rows.dn[rgb], out[rgb]), provenance, given(rows.percent))
        return count(rows, rgb)


def origin_tags(scene: Scene, settings: str, model_name: str) -> dict[str, str]:
    """Return the tags of every output: its scene, and what made it.

    Args:
        settings: the settings as JSON.
    """
    return {
        "VERSION": VERSION,
        "MODEL": model_name,
        "SOURCE": scene.path.name,
        "CONFIG": settings,
    }


def radiometry_tags(scene: Scene, radiometry: Radiometry) -> dict[str, str]:
    """Return the tags that say how the DN of the restored scene are to be read."""
    return {
        "DTYPE": str(scene.dtype),
        "SCALE": repr(radiometry.scale),
        "OFFSET": repr(radiometry.offset),
        "RADIOMETRY": radiometry.origin,
        # Tags keep the names of the first version, for programs that read them.
        "CORRECTED": f"{radiometry.path_radiance_removed:.3f}",
        "VEIL": f"{radiometry.haze:.3f}",
        "DARKEST": " ".join(f"{light:.3f}" for light in radiometry.dark_object),
    }
