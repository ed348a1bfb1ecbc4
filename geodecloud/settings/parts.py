"""Declare the parts of the settings: each option is a field, once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geodecloud.errors import UsageError
from geodecloud.settings import parse
from geodecloud.settings.cores import available_threads
from geodecloud.settings.option import Part, option

MIB = 1 << 20
WINDOW_MULTIPLE = 16  # the generator halves height and width four times

Ramp = Literal["cosine", "linear"]
Switch = Literal["on", "off"]
Opaque = Literal["fill", "keep", "nodata"]
Beyond = Literal["keep", "nodata"]
Shadows = Literal["restore", "keep", "fill"]
OtherTreatment = Literal["restore", "keep", "nodata"]
Format = Literal["gtiff", "cog"]
Precision = Literal["auto", "fp32", "bf16"]


_LEAST_SCALE = 0.1  # DN of reflectance 1; a smaller scale is a factor to multiply DN by


def _of_factor(factor: float, addend: float | None) -> str:
    """Return the scale and offset that a provider's factor and addend mean, as a remedy."""
    added = offset = ""
    if addend and abs(addend) < 1:  # more is an offset in DN
        added = f" {'-' if addend < 0 else '+'} {abs(addend):g}"
        offset = f" and `offset` {addend / factor:.8g}"
    return (
        f"`scale` is {factor:g}: give the DN of reflectance 1; reflectance = {factor:g} x DN"
        f"{added} is `scale` {1 / factor:.8g}{offset}"
    )


@dataclass(frozen=True)
class Reading(Part):
    """The reading of the scene: its bands, radiometry, area and cloud mask."""

    bands: tuple[int, int, int] | None = option(
        None,
        "Band numbers of red, green and blue, counted from 1",
        unit="R,G,B",
        flags=("-b", "--bands"),
        shown_default="by name or colour",
        parse=parse.bands,
    )
    extra_bands: tuple[str, ...] | None = option(
        None,
        "Bands besides red, green and blue to read from a Sentinel-2 product or files of one band "
        "each: names like B08,B8A,B11, all, or none",
        unit="NAMES",
        shown_default="near infrared, if it is on the grid of red",
        parse=parse.names,
    )
    wavelengths: tuple[float, ...] | None = option(
        None,
        "Central wavelengths of the bands other than red, green and blue, in order; 0 for a band "
        "that shows no ground",
        unit="NM,NM",
        shown_default="by name",
        parse=parse.numbers,
    )
    scale: float | None = option(
        None,
        "DN (pixel value) of reflectance 1, after adding the offset",
        unit="DN",
        above=0,
        shown_default="from the file, else 10000 for integers, 1 for floats",
    )
    offset: float | None = option(
        None,
        "Number to add to each DN before scaling, like -1000 for Sentinel-2 since 2022",
        unit="DN",
        shown_default="from the file, else 0",
        parse=parse.offset,
    )
    nodata: float | None = option(
        None,
        "DN that means nodata in red, green or blue, in place of what the file declares",
        unit="VALUE",
        shown_default="from the file, else found along the scene's border",
        parse=parse.nodata,
    )
    declared_nodata_only: bool = option(
        False, "Do not look for undeclared nodata along the scene's border"
    )
    resolution: int | None = option(
        None,
        "Resolution of a Sentinel-2 product's bands: 10, 20 or 60 m",
        unit="METRES",
        shown_default="10",
    )
    aoi: str | None = option(
        None,
        "Area to restore: left,bottom,right,top in the scene's CRS, or the bounding "
        "rectangle of a GeoJSON file",
        unit="AREA",
        flags=("--bounds", "--aoi"),
        shown_default="the whole scene",
        parse=parse.aoi,
    )
    mask: Path | str | None = option(
        None,
        "Cloud mask or Sentinel-2 scene classification (SCL); only its cloud pixels change",
        unit="FILE",
        parse=parse.raster,
    )
    mask_values: tuple[int, ...] | None = option(
        None,
        "Mask values that mean cloud: numbers or ranges, like 1,3-5",
        unit="VALUES",
        shown_default="3,8,9,10 for an SCL, else all but 0",
        parse=parse.values,
    )
    mask_buffer: float | None = option(
        None,
        "Distance by which the clouds of the mask grow",
        unit="METRES",
        above=0,
        shown_default="none",
    )
    keep_haze: bool = option(
        False,
        "Do not remove uniform haze from 8-bit pictures",
        old_flags=("--keep-veil",),
    )
    force: bool = option(
        False,
        "Run even if scale and offset are doubtful, most of the scene would be invented, or the "
        "scene has been restored already",
    )
    allow_network: bool = option(False, "Allow reading from the network")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution not in (None, 10, 20, 60):
            raise UsageError(f"`resolution` is {self.resolution}: give 10, 20 or 60")
        if self.mask_buffer is not None and self.mask is None:
            raise UsageError("`mask_buffer` grows the clouds of a mask: give `mask`, too")
        if self.mask_values is not None and self.mask is None:
            raise UsageError("`mask_values` needs a mask: give `mask`, too")
        if self.scale is not None and self.scale < _LEAST_SCALE:
            raise UsageError(_of_factor(self.scale, self.offset))


@dataclass(frozen=True)
class Windows(Part):
    """The windows that the scene is cut into, and their blending."""

    window: int = option(
        64,
        "Width and height of a window, a multiple of 16",
        unit="PIXELS",
        minimum=WINDOW_MULTIPLE,
        maximum=1024,  # a batch of such windows needs some gigabytes
    )
    overlap: int = option(
        16, "Overlap of neighbouring windows, at most half a window", unit="PIXELS", minimum=0
    )
    ramp: Ramp = option("cosine", "Shape of the blending weight across an overlap")
    gate: Switch = option(
        "on",
        "Compute only windows near the clouds of the coarse pass; off: compute all windows, to "
        "find a few more small clouds",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window % WINDOW_MULTIPLE:
            raise UsageError(f"`window` is {self.window}: give a multiple of {WINDOW_MULTIPLE}")
        if self.overlap > self.window // 2:
            raise UsageError(
                f"`overlap` is {self.overlap}: give at most half of `window`, {self.window // 2}"
            )


@dataclass(frozen=True)
class Policy(Part):
    """The rules for which pixels change, how far, and what fills opaque pixels.

    Below ``clear_below`` a pixel is copied. From there to ``restored_above`` a smooth ramp leads
    to the restored value. From ``opaque_above`` on, the ground is hidden.
    """

    opaque: Opaque = option(
        "fill", "Treatment of opaque pixels: fill them in, keep their cloud, or set nodata"
    )
    opaque_above: float = option(
        0.45,
        "Pixels at or above this opacity (0 to 1) count as opaque",
        unit="OPACITY",
        minimum=0,
        maximum=1,
    )
    fill_limit: float | None = option(
        None,
        "Largest distance from visible ground at which opaque pixels are filled",
        unit="METRES",
        above=0,
        shown_default="no limit",
    )
    beyond_limit: Beyond = option(
        "keep", "Treatment of opaque pixels beyond the fill limit: keep their cloud, or set nodata"
    )
    references: tuple[Path | str, ...] = option(
        (),
        "Clear image of another date to fill opaque pixels from; repeatable, best first",
        unit="FILE",
        flags=("--reference",),
        parse=parse.rasters,
    )
    shadows: Shadows = option(
        "restore",
        "Treatment of cloud shadows: relight them, keep them, or fill them like opaque pixels",
    )
    other_bands: OtherTreatment = option(
        "restore",
        "Treatment of changed pixels in bands other than red, green and blue whose wavelength is "
        "known: restore, keep, or set nodata",
    )
    clear_below: float = option(
        0.03,
        "Opacity (0 to 1) below which a pixel stays as it is",
        unit="OPACITY",
        minimum=0,
        maximum=1,
    )
    restored_above: float = option(
        0.12,
        "Opacity (0 to 1) from which a pixel is restored fully",
        unit="OPACITY",
        minimum=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.clear_below < self.restored_above:
            raise UsageError(
                f"`clear_below` is {self.clear_below:g}: give less than `restored_above`, "
                f"{self.restored_above:g}"
            )
        if self.opaque_above < self.restored_above:
            raise UsageError(
                f"`opaque_above` is {self.opaque_above:g}: give {self.restored_above:g} to 1"
            )
        if self.shadows == "fill" and self.opaque != "fill":
            raise UsageError(
                f"`shadows` is fill, but `opaque` is {self.opaque}: fill both, or set `shadows` to "
                "restore or keep"
            )
        if self.fill_limit is None and self.beyond_limit == "nodata":
            raise UsageError("`beyond_limit` is nodata: give `fill_limit`, too")
        if self.fill_limit is not None and self.opaque != "fill":
            raise UsageError(f"`opaque` is {self.opaque}: `fill_limit` works only with fill")
        if self.references and self.opaque != "fill":
            raise UsageError(f"`opaque` is {self.opaque}: `references` works only with fill")


@dataclass(frozen=True)
class Output(Part):
    """The files to write, and their format."""

    provenance: Path | None = option(
        None,
        "Provenance GeoTIFF to write: measured, restored or invented",
        unit="FILE",
    )
    opacity: Path | None = option(
        None,
        "GeoTIFF to write: opacity of cloud and depth of shadow, in percent",
        unit="FILE",
    )
    cloud_mask: Path | None = option(
        None,
        "Cloud mask GeoTIFF to write: clear, thick cloud, thin cloud, cloud shadow",
        unit="FILE",
    )
    preview: Path | None = option(
        None, "PNG to write: the scene before and after, and its provenance", unit="FILE"
    )
    report: Path | None = option(
        None,
        "HTML report to write: before and after with a slider, provenance and all figures",
        unit="FILE",
    )
    stac: bool = option(False, "Write a STAC item next to the output")
    format: Format = option(
        "gtiff", "Format of the output: GeoTIFF or cloud-optimised GeoTIFF", parse=parse.lower_case
    )
    creation_options: tuple[str, ...] = option(
        (),
        "GDAL creation option, like COMPRESS=ZSTD; repeatable",
        unit="KEY=VALUE",
        flags=("--co",),
        parse=parse.pairs,
    )
    dst_nodata: float | None = option(
        None,
        "Nodata value of the output, for a scene that declares none",
        unit="VALUE",
        shown_default="none",
        parse=parse.nodata,
    )
    overwrite: bool = option(False, "Replace existing outputs")


@dataclass(frozen=True)
class Limits(Part):
    """The share of the machine that a run may use."""

    threads: int | None = option(
        None,
        "Number of threads, or ALL_CPUS",
        unit="COUNT",
        minimum=1,
        shown_default="one per core",
        parse=parse.threads,
    )
    batch_size: int | None = option(
        None,
        "Windows per call of the network, rounded down to a multiple of 8 (32 on a GPU)",
        unit="COUNT",
        minimum=1,
        shown_default="8 per thread, at least 32",
    )
    max_memory: int = option(
        1 << 30,
        "Memory that the process may use, with its unit: 600MiB, 2GiB",
        unit="SIZE",
        minimum=1,
        shown_default="1GiB",
        parse=parse.size,
    )

    @property
    def thread_count(self) -> int:
        """Threads to use: ``threads``, else one for each core that this process may use."""
        return self.threads or available_threads()

    @property
    def windows_per_call(self) -> int:
        """Windows per call of the network: ``batch_size``, else enough for two calls at a time."""
        return self.batch_size or max(32, 8 * self.thread_count)


@dataclass(frozen=True)
class ModelSpec(Part):
    """The network that restores, its device and its precision."""

    model: Path | None = option(
        None, "Model file (.safetensors)", unit="FILE", shown_default="the built-in model"
    )
    device: str = option(
        "auto", "Device of the network: auto, cpu, cuda, cuda:1 or mps", unit="NAME"
    )
    precision: Precision = option(
        "auto", "Arithmetic of the network; auto: bf16 where it is fast and accurate, else fp32"
    )


@dataclass(frozen=True)
class Monitoring(Part):
    """The progress and the logs of a training run."""

    log_every: int = option(20, "Number of steps between logged losses", unit="COUNT", minimum=1)
    log_dir: Path | None = option(
        None, "Folder for TensorBoard logs: losses, rates, scores, windows", unit="DIR"
    )
    quiet: bool = option(False, "Print errors only", flags=("-q", "--quiet"))
