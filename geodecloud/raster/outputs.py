"""Write the outputs of a run together: the scene, and what stands beside it.

Beside it may stand provenance, opacity, a cloud mask, a preview, a report and a STAC item.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import UsageError
from geodecloud.radiometry import Radiometry
from geodecloud.raster import atomic
from geodecloud.raster.cloud_mask import create_cloud_mask
from geodecloud.raster.cloud_mask import style as style_of_cloud_mask
from geodecloud.raster.nodata import NodataCheck, output_nodata
from geodecloud.raster.opacity import create_percent
from geodecloud.raster.opacity import style as style_of_opacity
from geodecloud.raster.preview import Preview
from geodecloud.raster.profile import refuse_unknown_options
from geodecloud.raster.provenance import REFERENCES, Provenance, among, create_provenance
from geodecloud.raster.provenance import style as style_of_provenance
from geodecloud.raster.report.page import Run, write_page
from geodecloud.raster.report.pictures import Pictures
from geodecloud.raster.scene import Scene
from geodecloud.raster.stac import Written, item_path, require_pystac, write_item
from geodecloud.raster.stale import StaleOutputs
from geodecloud.raster.wavelengths import OtherBand
from geodecloud.raster.writer import create_like
from geodecloud.settings import Output
from geodecloud.version import VERSION


class FinishedRows(Protocol):
    """Rows with their output: see :class:`geodecloud.restore.rows.Rows`."""

    @property
    def first(self) -> int:
        """The first row."""

    @property
    def dn(self) -> NDArray[Any]:
        """The scene's DN, (bands, rows, width)."""

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Mask of pixels where red, green and blue have data, (rows, width)."""

    @property
    def out(self) -> NDArray[Any] | None:
        """The output's DN, (bands, rows, width)."""

    @property
    def provenance(self) -> NDArray[np.uint8] | None:
        """Codes, (rows, width)."""

    @property
    def found(self) -> NDArray[np.uint8] | None:
        """Opacity and shadow in percent, (2, rows, width)."""

    @property
    def classes(self) -> NDArray[np.uint8] | None:
        """Classes of a cloud mask, (rows, width)."""

    @property
    def windows(self) -> int:
        """Windows that end in these rows."""

    @property
    def windows_skipped(self) -> int:
        """Windows among them that the network did not compute."""


@dataclass(frozen=True)
class Counts:
    """Pixels and windows of rows, or of a whole scene.

    valid: pixels with data.
    changed: of these, pixels that are not as measured: restored, relit, filled, from a reference,
        or cloud made nodata.
    filled: pixels with the colour of the land around.
    referenced: pixels from a reference.
    relit: pixels under a cloud's shadow that the network made brighter.
    windows, windows_skipped: in all, and those that the network did not compute.
    """

    valid: int = 0
    changed: int = 0
    filled: int = 0
    referenced: int = 0
    relit: int = 0
    windows: int = 0
    windows_skipped: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*map(sum, zip(asdict(self).values(), asdict(other).values(), strict=True)))

    @property
    def changed_fraction(self) -> float:
        """Share of the valid pixels that are not as measured: restored, relit, filled, replaced."""
        return self.changed / max(self.valid, 1)

    @property
    def invented_fraction(self) -> float:
        """Share of the valid pixels that are filled with the colour of the land around.

        The network computes restored and relit pixels from the ground that is visible there, so
        they are changed, not invented.
        """
        return self.filled / max(self.valid, 1)

    @property
    def reference_fraction(self) -> float:
        """Share of the valid pixels that come from a reference."""
        return self.referenced / max(self.valid, 1)

    @property
    def shadow_fraction(self) -> float:
        """Share of the valid pixels that are relit under a cloud's shadow."""
        return self.relit / max(self.valid, 1)

    def fractions(self) -> dict[str, float]:
        """Return all fractions by name; the others are parts of the first."""
        kinds = ("changed", "invented", "reference", "shadow")
        return {name: getattr(self, name) for name in map("{}_fraction".format, kinds)}


def count(rows: FinishedRows, rgb: list[int]) -> Counts:
    """Count the pixels and windows of rows.

    Args:
        rgb: indices of red, green and blue among the bands.
    """
    out, provenance = _set(rows.out), _set(rows.provenance)
    kept = among(provenance, (Provenance.MEASURED, Provenance.CLOUD_KEPT))
    beyond = provenance == Provenance.BEYOND_LIMIT
    if beyond.any():
        kept |= beyond & (out[rgb] == rows.dn[rgb]).all(axis=0)
    return Counts(
        valid=int(rows.valid.sum()),
        changed=int((rows.valid & ~kept).sum()),
        filled=int((provenance == Provenance.FILLED).sum()),
        referenced=int(among(provenance, REFERENCES).sum()),
        relit=int((provenance == Provenance.SHADOW).sum()),
        windows=rows.windows,
        windows_skipped=rows.windows_skipped,
    )


class Outputs:
    """The files of a run, which appear together when the ``with`` block ends well.

    Args:
        dst: the restored scene.
        output: what else is written, and how.
        protected: files that are never replaced.
        others: bands that change beside red, green and blue.

    Attributes:
        nodata: the DN that means nodata in the output; None: there is none.
        unwritten: the DN that no restored pixel may take: that, or the scene's undeclared fill.
        block: height of a row of blocks of the restored scene in pixels.

    Raises, when it is entered:
        OutputError: a file exists, or cannot be written.
        UsageError: the output settings do not fit the scene.
    """

    def __init__(
        self,
        scene: Scene,
        dst: Path,
        output: Output,
        protected: Iterable[Path],
        others: Iterable[OtherBand] = (),
    ) -> None:
        self._others = [band.index + 1 for band in others]
        for path in (dst, output.provenance, output.opacity, output.cloud_mask):
            if path and path.suffix.lower() not in (".tif", ".tiff"):
                raise UsageError(f"{path}: the output is a GeoTIFF; name it .tif")
        if output.report and output.report.suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"{output.report}: the report is a web page; name it .html")
        if output.stac:
            require_pystac()
        refuse_unknown_options(output)
        self._scene, self._dst, self._output = scene, dst, output
        self._pictures: Pictures | None = None
        self._protected = list(protected)
        self.nodata = output_nodata(scene, output)
        self.unwritten = scene.validity.unwritten if self.nodata is None else self.nodata

    def __enter__(self) -> Self:
        output, scene = self._output, self._scene
        self._stale = self._find_stale()
        with ExitStack() as files:
            parts = files.enter_context(self._parts())
            item = parts.add(item_path(self._dst)) if output.stac else None
            restored = parts.add(self._dst)
            provenance = parts.add(output.provenance) if output.provenance else None
            opacity = parts.add(output.opacity) if output.opacity else None
            cloud_mask = parts.add(output.cloud_mask) if output.cloud_mask else None
            for path, text in self._styles().items():
                parts.add(path).write_text(text, "utf-8")
            self._item = item
            self._preview = parts.add(output.preview) if output.preview else None
            self._report = parts.add(output.report) if output.report else None
            self._restored = files.enter_context(
                create_like(scene, restored, {}, output, {*scene.bands, *self._others})
            )
            self._provenance = (
                files.enter_context(create_provenance(scene, provenance, output))
                if provenance
                else None
            )
            self._opacity = (
                files.enter_context(create_percent(scene, opacity, output)) if opacity else None
            )
            self._cloud_mask = (
                files.enter_context(create_cloud_mask(scene, cloud_mask, output))
                if cloud_mask
                else None
            )
            self.block = self._restored.block
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
            OutputError: one exists, cannot be written, or is named twice.
        """
        paths = self._paths()
        self._parts().check_all(paths)
        self._find_stale()
        return paths

    def _paths(self) -> list[Path]:
        output = self._output
        item = item_path(self._dst) if output.stac else None
        rasters = (output.provenance, output.opacity, output.cloud_mask)
        beside = (*rasters, *self._styles(), output.preview, output.report, item)
        return [self._dst, *(path for path in beside if path)]

    def _find_stale(self) -> StaleOutputs:
        """Return what the new picture makes untrue.

        Raises:
            OutputError: there is some, and nothing may be replaced.
        """
        stale = StaleOutputs(self._dst, (*self._paths(), *self._protected))
        if not self._output.overwrite and not self._dst.exists():
            stale.refuse()
        return stale

    def _styles(self) -> dict[Path, str]:
        """Return the styles to write for QGIS, by path; one that exists is the user's."""
        rasters = {
            self._output.provenance: style_of_provenance(),
            self._output.opacity: style_of_opacity(),
            self._output.cloud_mask: style_of_cloud_mask(),
        }
        styles = {path.with_suffix(".qml"): text for path, text in rasters.items() if path}
        return {path: text for path, text in styles.items() if not path.exists()}

    def _parts(self) -> atomic.AtomicFiles:
        return atomic.AtomicFiles(self._protected, overwrite=self._output.overwrite)

    def write(
        self, rows: Iterator[FinishedRows], radiometry: Radiometry, settings: str, model_name: str
    ) -> Counts:
        """Write all rows of the scene, in the order in which they come; say what was done.

        Args:
            settings: as JSON, for the tags and the STAC item.
            model_name: for both, too.

        Returns:
            the pixels and windows of all rows.

        Raises:
            OutputError: the disk is full, say.
            UsageError: clear pixels hold ``dst_nodata``.
        """
        self._restored.tag(self._tags(radiometry, settings, model_name))
        with ExitStack() as files:
            preview = None
            if self._preview:
                picture = Preview(self._preview, *self._scene.shape, radiometry)
                preview = files.enter_context(picture)
            if self._report:
                folder = self._report.parent
                taken = Pictures(folder, self._scene.shape, radiometry)
                self._pictures = self._files.enter_context(taken)
            counts = self._write_rows(rows, preview)
        fractions = counts.fractions()
        self._restored.tag({name.upper(): f"{share:.6f}" for name, share in fractions.items()})
        if self._item:
            written = Written(
                dst=self._dst,
                provenance=self._output.provenance,
                opacity=self._output.opacity,
                cloud_mask=self._output.cloud_mask,
                radiometry=radiometry,
                cog=self._output.format == "cog",
                facts={**json.loads(settings), "model": model_name, **fractions},
                nodata=self.nodata,
            )
            write_item(self._item, self._scene, written)
        self._run = Run(
            scene=self._scene,
            radiometry=radiometry,
            fractions=fractions,
            settings=json.loads(settings),
            model_name=model_name,
            others=tuple(self._others),
            nodata=self.nodata,
        )
        return counts

    def write_report(self, warnings: Iterable[str]) -> None:
        """Write the report, if one is asked for, after all rows.

        Args:
            warnings: of the run, one line each.

        Raises:
            OutputError: it cannot be written.
        """
        if self._report and self._pictures:
            run = replace(self._run, warnings=tuple(warnings))
            write_page(self._report, run, self._pictures)

    def _write_rows(self, rows: Iterator[FinishedRows], preview: Preview | None) -> Counts:
        rgb, counts = self._scene.rgb, Counts()
        check = NodataCheck(self._scene, self._output)
        for some in rows:
            out, provenance = _set(some.out), _set(some.provenance)
            hidden = provenance == Provenance.CLOUD_REMOVED
            check.add(out, (provenance != Provenance.NODATA) & ~hidden)
            counts += count(some, rgb)
            self._restored.write(out, some.first, hidden)
            if self._provenance:
                self._provenance.write(provenance[None], some.first)
            if self._opacity:
                self._opacity.write(_set(some.found), some.first)
            if self._cloud_mask:
                self._cloud_mask.write(_set(some.classes)[None], some.first)
            if preview:
                preview.add(some.first, some.dn[rgb], out[rgb], provenance)
            if self._pictures:
                both = some.dn[rgb], out[rgb]
                self._pictures.add(some.first, both, provenance, _set(some.found))
                del both
            del some, out, provenance  # while the next ones are waited for
        check.finish()
        return counts

    def _tags(self, radiometry: Radiometry, settings: str, model_name: str) -> dict[str, str]:
        return {
            "VERSION": VERSION,
            "MODEL": model_name,
            "SOURCE": self._scene.path.name,
            "DTYPE": str(self._scene.dtype),
            "SCALE": repr(radiometry.scale),
            "OFFSET": repr(radiometry.offset),
            "RADIOMETRY": radiometry.origin,
            # Tags keep the names of the first version, for programs that read them.
            "CORRECTED": f"{radiometry.path_radiance_removed:.3f}",
            "VEIL": f"{radiometry.haze:.3f}",
            "DARKEST": " ".join(f"{light:.3f}" for light in radiometry.dark_object),
            "CONFIG": settings,
        }


def _set(array: NDArray[Any] | None) -> NDArray[Any]:
    """Return an array that the stages before have set."""
    assert array is not None, "a stage is missing before the outputs"  # noqa: S101
    return array
