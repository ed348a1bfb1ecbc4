"""Draw scenes that are whole but awkward, for ``fuzz.py``: what a file does not say, or says oddly.

Masked arrays, bands in a file each, fill that nobody declared, and values of another radiometry.
Each kind states what must hold where the tool restores; else it must refuse in one line.
"""

import contextlib
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.transform import from_origin

from geodecloud.cli.run import run
from geodecloud.decloud import Report, decloud_scene
from geodecloud.raster.array import ArrayInfo
from geodecloud.restore_arrays import restore_array
from geodecloud.settings import Settings

FILLS = (0, 1, 255, 127, -1, -9999, -32768, 32767, 65535, float("nan"))
NODATA = (None, 0, -9999, 255, 65535, 3.5, 1e40, float("nan"), float("inf"))
INTEGERS = ("uint8", "uint16", "int16", "int32")
TYPES = (*INTEGERS, "float32", "float64")
NAMES = (
    *("scene.tif", "S2A_MSIL2A_20221005T115411_N0400_R023_T29UNU.tif", "LC08_L2SP_x_SR.tif"),
    *("S2A_MSIL1C_20180105T115411_N0206_R023_T29UNU.tif", "HLS.L30.T29UNU_x.tif", "x_TCI.tif"),
)
OPACITY = 0.2
sizes = st.integers(1, 80)
seeds = st.integers(0, 2**32 - 1)


def identity(patches: NDArray[np.float32], _: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the patches unchanged, under cloud of opacity 0.5."""
    return np.concatenate([patches, np.full_like(patches[:, :1], OPACITY)], axis=1)


def white_is_opaque(patches: NDArray[np.float32], _: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the patches unchanged, and call opaque what is as bright as a cloud."""
    opaque = (patches >= 0.9).all(axis=1, keepdims=True)
    return np.concatenate([patches, opaque], axis=1).astype(np.float32)


def noise(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 0) -> NDArray[Any]:
    """Return random DN of land: 20 to 1980, of 8 bits 1 to 99, of floats reflectance."""
    dn = np.random.default_rng(seed).integers(1, 100, shape)
    if dtype.startswith("float"):
        return (dn / 500).astype(dtype)
    return (dn if dtype == "uint8" else 20 * dn).astype(dtype)


def write_scene(
    path: Path, dn: NDArray[Any], valid: NDArray[np.bool_] | None = None, **profile: Any
) -> None:
    """Write a GeoTIFF of (bands, rows, columns), with a mask if there is one."""
    shape = {"count": dn.shape[0], "height": dn.shape[1], "width": dn.shape[2], "dtype": dn.dtype}
    grid = {"crs": "EPSG:32633", "transform": from_origin(500000, 5500000, 10, 10)}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", driver="GTiff", **shape, **grid, **profile) as out,
    ):
        out.write(dn)
        if valid is not None:
            out.write_mask(valid)


def exit_of(program: Callable[[], object]) -> tuple[int, str]:
    """Return exit code and stderr of a function run as the command line would run it."""
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        try:
            run(program)
        except SystemExit as stop:
            return int(str(stop.code)), stderr.getvalue()
    raise AssertionError("unreachable: run() exits")


def check_refusal(code: int, message: str) -> None:
    """Raise unless the tool refused in one line."""
    assert code in (1, 2), code
    errors = [line for line in message.splitlines() if "error: " in line]
    assert len(errors) == 1, message
    assert message.endswith(errors[0] + "\n"), message
    assert "Traceback" not in message, message


class Drawn:
    """A folder in which each input is made, restored and removed again."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder

    def inputs(self) -> st.SearchStrategy[Any]:
        """Return a strategy for the inputs."""
        raise NotImplementedError

    def check(self, case: Any) -> bool:
        """Try an input; return whether it was restored, and raise if that is a crash."""
        raise NotImplementedError

    def try_one(self, case: Any, outcomes: Counter[str]) -> None:
        """Run the tool on one input, and raise if that is a crash."""
        for path in self.folder.iterdir():
            path.unlink()
        (self.folder / "case.txt").write_text(repr(case))  # for a crash
        outcomes["restored" if self.check(case) else "refused"] += 1

    def restore(self, src: Any, name: str, settings: Settings, **more: Any) -> Report | None:
        """Restore a scene; return None if it is refused, in one line and without a file left."""
        before = {path.name for path in self.folder.iterdir()}
        reports: list[Report] = []
        dst, predict = self.folder / name, more.get("predict", identity)
        codes = self.folder / f"codes_{name}"
        chosen = settings.replace(provenance=codes)
        code, message = exit_of(lambda: reports.append(decloud_scene(src, dst, predict, chosen)))
        left = {path.name for path in self.folder.iterdir()} - before
        if code == 0:
            beside = {codes.with_suffix(".qml").name, f"{codes.name}.aux.xml"}
            assert left == {dst.name, codes.name, *beside}, left
            return reports[0]
        check_refusal(code, message)
        assert left == set(), left
        return None

    def read(self, name: str) -> NDArray[Any]:
        """Return all bands of a file."""
        with rasterio.open(self.folder / name) as file:
            pixels: NDArray[Any] = file.read()
            return pixels


@dataclass(frozen=True)
class MaskedCase:
    """A masked array.

    holes: fraction of the pixels that are masked; per_band: each band has a mask of its own.
    hidden: value under the mask.
    """

    dtype: str
    shape: tuple[int, int, int]
    seed: int
    holes: float | None
    per_band: bool
    hidden: float
    nodata: float | None


class Masked(Drawn):
    """Masked arrays: the mask is nodata, and comes back; other pixels are as they were."""

    def inputs(self) -> st.SearchStrategy[MaskedCase]:
        """Return a strategy for arrays of any type, mask and nodata value."""
        return st.builds(
            MaskedCase,
            dtype=st.sampled_from(TYPES),
            shape=st.tuples(st.sampled_from((3, 4, 2)), sizes, sizes),
            seed=seeds,
            holes=st.sampled_from((None, 0.0, 0.1, 0.5, 0.99, 1.0)),
            per_band=st.booleans(),
            hidden=st.sampled_from(FILLS),
            nodata=st.sampled_from(NODATA),
        )

    def check(self, case: MaskedCase) -> bool:
        """See :meth:`Drawn.check`."""
        dn = noise(case.shape, case.dtype, case.seed)
        mask: Any = np.ma.nomask
        if case.holes is not None:
            rng = np.random.default_rng(case.seed)
            shape = case.shape if case.per_band else case.shape[1:]
            mask = np.broadcast_to(rng.random(shape) < case.holes, case.shape)
            with np.errstate(invalid="ignore"):
                dn[mask] = np.float64(case.hidden).astype(case.dtype)
        array = np.ma.MaskedArray(dn, mask)
        done: list[Any] = []
        info = ArrayInfo(nodata=case.nodata)
        code, message = exit_of(
            lambda: done.append(restore_array(array, identity, Settings(), info=info))
        )
        if code:
            check_refusal(code, message)
            assert "geodecloud-" not in message, message
            return False
        restored = done[0].array
        assert isinstance(restored, np.ma.MaskedArray)
        assert (restored.shape, restored.dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(np.ma.getmaskarray(restored), np.ma.getmaskarray(array))
        seen = ~np.ma.getmaskarray(array)
        last_bits = 1e-12 if case.dtype == "float64" else 0
        np.testing.assert_allclose(restored.data[seen], array.data[seen], rtol=last_bits, atol=0)
        hidden = np.ma.getmaskarray(array)[:3].any(axis=0)
        assert (done[0].provenance[hidden] == 255).all()
        return True


@dataclass(frozen=True)
class BandsCase:
    """Three bands, in a file each and in one.

    odd: what sets the second file apart: nothing, or what must not be.
    """

    dtype: str
    size: tuple[int, int]
    seed: int
    nodata: float | None
    scales: tuple[float, float, float]
    offsets: tuple[float, float, float]
    masked: bool
    tiled: bool
    odd: str


class Bands(Drawn):
    """Bands in a file each give what one file gives."""

    def inputs(self) -> st.SearchStrategy[BandsCase]:
        """Return a strategy for files of any type, nodata, scale, offset, mask and layout."""
        three = st.sampled_from(((1.0,) * 3, (1e-4,) * 3, (2.75e-5,) * 3, (1e-4, 1e-4, 2e-4)))
        return st.builds(
            BandsCase,
            dtype=st.sampled_from(TYPES),
            size=st.tuples(sizes, sizes),
            seed=seeds,
            nodata=st.sampled_from((None, 0, 40, 60000)),
            scales=three,
            offsets=st.sampled_from(((0.0,) * 3, (-0.1,) * 3, (-0.2,) * 3, (0.0, 0.0, -0.1))),
            masked=st.booleans(),
            tiled=st.booleans(),
            odd=st.sampled_from(("", "", "", "", "missing", "size", "dtype", "nodata", "empty")),
        )

    def check(self, case: BandsCase) -> bool:
        """See :meth:`Drawn.check`."""
        dn = noise((3, *case.size), case.dtype, case.seed)
        rng = np.random.default_rng(case.seed)
        valid = rng.random(case.size) < 0.7 if case.masked else None
        nodata = case.nodata
        if nodata is not None and case.dtype[0] != "f" and nodata > np.iinfo(case.dtype).max:
            nodata = None
        profile: dict[str, Any] = {"nodata": nodata}
        if case.tiled:
            profile |= {"tiled": True, "blockxsize": 32, "blockysize": 16}
        files = [self.folder / f"{name}.tif" for name in ("red", "green", "blue")]
        for file, band in zip(files, dn, strict=True):
            write_scene(file, band[None], valid, **profile)
        self._make_odd(case, files[1], dn[1:2])
        one = self.folder / "one.tif"
        write_scene(one, dn, valid, **profile)
        self._set_radiometry(one, case.scales, case.offsets)
        for i, file in enumerate(files):
            if i != 1 or case.odd not in ("missing", "empty"):
                self._set_radiometry(file, case.scales[i : i + 1], case.offsets[i : i + 1])
        apart = self.restore(files, "apart.tif", Settings())
        if case.odd:
            return apart is not None
        together = self.restore(one, "together.tif", Settings())
        assert (apart is None) == (together is None)
        if apart is None or together is None:
            return False
        for name in ("{}.tif", "codes_{}.tif"):
            first, second = (self.read(name.format(way)) for way in ("apart", "together"))
            np.testing.assert_array_equal(first, second)
        with (
            rasterio.open(self.folder / "apart.tif") as first,
            rasterio.open(self.folder / "together.tif") as second,
        ):
            for fact in ("scales", "offsets", "nodata", "crs", "transform", "dtypes"):
                assert getattr(first, fact) == getattr(second, fact), fact
            np.testing.assert_array_equal(first.dataset_mask(), second.dataset_mask())
        return True

    def _make_odd(self, case: BandsCase, file: Path, band: NDArray[Any]) -> None:
        if case.odd == "missing":
            file.unlink()
        elif case.odd == "size":
            write_scene(file, np.concatenate([band, band], axis=2))
        elif case.odd == "dtype":
            write_scene(file, band.astype("float64" if case.dtype != "float64" else "int32"))
        elif case.odd == "nodata":
            write_scene(file, band, nodata=60 if case.nodata != 60 else 80)
        elif case.odd == "empty":
            file.write_bytes(b"")

    def _set_radiometry(
        self, file: Path, scales: tuple[float, ...], offsets: tuple[float, ...]
    ) -> None:
        with rasterio.open(file, "r+") as out:
            out.scales, out.offsets = scales, offsets


@dataclass(frozen=True)
class FillCase:
    """A scene with a value along its border.

    where: its shape; width: in pixels.
    """

    dtype: str
    size: tuple[int, int]
    seed: int
    value: float
    where: str
    width: int
    declared_only: bool
    inner: float


class Undeclared(Drawn):
    """Fill that nobody declared: as if declared, or as ground; never changed, never in between."""

    def inputs(self) -> st.SearchStrategy[FillCase]:
        """Return a strategy for values and shapes of fill."""
        return st.builds(
            FillCase,
            dtype=st.sampled_from(TYPES),
            size=st.tuples(sizes, sizes),
            seed=seeds,
            value=st.sampled_from(FILLS),
            where=st.sampled_from(("frame", "corner", "left", "top", "spots", "all", "one band")),
            width=st.integers(1, 40),
            declared_only=st.booleans(),
            inner=st.sampled_from((0.0, 0.0, 0.1)),
        )

    def check(self, case: FillCase) -> bool:
        """See :meth:`Drawn.check`."""
        dn = noise((3, *case.size), case.dtype, case.seed)
        fill = np.zeros(case.size, bool)
        rows, columns = np.ogrid[: case.size[0], : case.size[1]]
        width = case.width
        if case.where == "corner":
            fill |= rows + columns < width
        elif case.where == "top":
            fill[:width] = True
        elif case.where == "spots":
            fill |= np.random.default_rng(case.seed).random(case.size) < width / 80
        elif case.where == "all":
            fill[:] = True
        else:
            fill[:, :width] = True
        if case.where == "frame":
            fill[:width] = fill[-width:] = fill[:, -width:] = True
        fill |= np.random.default_rng(case.seed + 1).random(case.size) < case.inner
        with np.errstate(invalid="ignore"):
            value = np.float64(case.value).astype(case.dtype)
        bands = slice(0, 1) if case.where == "one band" else slice(0, 3)
        dn[bands, fill] = value
        write_scene(self.folder / "in.tif", dn)
        settings = Settings(declared_nodata_only=case.declared_only)
        report = self.restore(self.folder / "in.tif", "out.tif", settings)
        if report is None:
            return False
        # The network works in float32: a restored float64 may differ in its last bits.
        last_bits = 1e-12 if case.dtype == "float64" else 0
        out, codes = self.read("out.tif"), self.read("codes_out.tif")[0]
        # What is restored does not take the value of the fill, but its neighbour.
        beside = (dn == value) & (codes != 255) & (codes != 0)
        np.testing.assert_allclose(out[~beside], dn[~beside], rtol=last_bits, atol=0)
        np.testing.assert_allclose(out[beside], dn[beside], rtol=1e-6, atol=1)
        finite = np.isfinite(dn).all(axis=0)
        held = (dn == value).any(axis=0) & (dn == value).all(axis=0)
        assert (codes[~finite] == 255).all()
        nodata = (codes == 255) & finite
        assert not (nodata & ~held).any(), "nodata that is no fill"
        assert not (case.declared_only and nodata.any()), "undeclared nodata was looked for"
        assert report.valid == (codes != 255).sum()
        return True


@dataclass(frozen=True)
class RadiometryCase:
    """Reflectance of land under some cloud, as DN of a scale and offset that nothing states."""

    name: str
    dtype: str
    size: tuple[int, int]
    seed: int
    scale: float
    offset: float
    cloud: float
    given: bool


class Radiometries(Drawn):
    """Other scales and offsets: restored, or refused; not invented as a whole; forced if asked."""

    def inputs(self) -> st.SearchStrategy[RadiometryCase]:
        """Return a strategy for names, types, scales and offsets."""
        return st.builds(
            RadiometryCase,
            name=st.sampled_from(NAMES),
            dtype=st.sampled_from(("uint8", "uint16", "int16", "float32")),
            size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
            seed=seeds,
            scale=st.sampled_from((1, 100, 255, 1000, 10000, 36363.636, 50000)),
            offset=st.sampled_from((0.0, -0.1, -0.2, 0.05)),
            cloud=st.sampled_from((0.0, 0.3, 0.8, 1.0)),
            given=st.booleans(),
        )

    def check(self, case: RadiometryCase) -> bool:
        """See :meth:`Drawn.check`."""
        rng = np.random.default_rng(case.seed)
        land = rng.uniform(0.02, 0.2, (3, *case.size))
        land[:, : round(case.cloud * case.size[0])] = 0.8
        dn = (land - case.offset) * case.scale
        if case.dtype[0] != "f":
            info = np.iinfo(case.dtype)
            dn = np.clip(np.rint(dn), info.min, info.max)
        src = self.folder / case.name
        write_scene(src, dn.astype(case.dtype))
        known = {"scale": case.scale, "offset": case.offset * case.scale} if case.given else {}
        chosen = Settings(**known, max_memory="1GiB", threads=1)
        report = self.restore(src, "out.tif", chosen, predict=white_is_opaque)
        if report is not None:
            assert report.invented_fraction <= 0.9
            return True
        forced = chosen.replace(force=True)
        assert self.restore(src, "forced.tif", forced, predict=white_is_opaque) is not None
        return False


DRAWN: dict[str, type[Drawn]] = {
    "masked": Masked,
    "band-files": Bands,
    "undeclared-fill": Undeclared,
    "radiometry": Radiometries,
}
