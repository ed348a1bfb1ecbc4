"""The options of restoring a scene, written once for every command that restores.

A field of :class:`RestoreOptions` is an option of the command line; what it means is said where
it is used, in :class:`geodecloud.decloud.Settings` and :class:`geodecloud.model.predictor.Predictor`.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geodecloud.cli.console import (
    BandsOption,
    parse_bands,
    parse_bytes,
    parse_offset,
    parse_values,
)

if TYPE_CHECKING:
    from geodecloud.decloud import Settings
    from geodecloud.model.predictor import Predictor


class OpaqueChoice(StrEnum):
    """What to do where the ground cannot be seen."""

    fill = "fill"
    keep = "keep"
    nodata = "nodata"


class BeyondChoice(StrEnum):
    """What to do where the ground is too far to be guessed."""

    keep = "keep"
    nodata = "nodata"


class RampChoice(StrEnum):
    """How the weight of a window falls towards its border."""

    cosine = "cosine"
    linear = "linear"


class PrecisionChoice(StrEnum):
    """Arithmetic of the network."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


class FormatChoice(StrEnum):
    """How the output is laid out."""

    gtiff = "gtiff"
    cog = "cog"


@dataclass(frozen=True)
class RestoreOptions:
    """What may be said of how a scene is restored, wherever it comes from and goes to."""

    bands: BandsOption = None
    scale: Annotated[
        float | None, typer.Option(help="DN of reflectance 1.  [default: 10000 for integers]")
    ] = None
    offset: Annotated[
        str,
        typer.Option(
            help="Added to DN first: a number like -1000, or auto: as metadata, tags or name say."
        ),
    ] = "auto"
    resolution: Annotated[
        int | None, typer.Option(help="Of a Sentinel-2 product: 10, 20 or 60 m.  [default: 10]")
    ] = None
    aoi: Annotated[
        str | None,
        typer.Option(
            help="Only this part: left,bottom,right,top in the scene's CRS, or a GeoJSON."
        ),
    ] = None
    mask: Annotated[
        Path | None, typer.Option(help="Change only what this raster calls cloud: an SCL, say.")
    ] = None
    mask_values: Annotated[
        str | None,
        typer.Option(help="Its values that do.  [default: 3,8,9,10 of an SCL, else all but 0]"),
    ] = None
    allow_network: Annotated[
        bool, typer.Option("--allow-network", help="Fetch what a file refers to.")
    ] = False
    window: Annotated[int, typer.Option(help="Window size in pixels, a multiple of 16.")] = 64
    overlap: Annotated[int, typer.Option(help="Pixels that windows share.")] = 16
    ramp: Annotated[RampChoice, typer.Option(help="How windows blend.")] = RampChoice.cosine
    opaque: Annotated[
        OpaqueChoice, typer.Option(help="What to do where the ground cannot be seen.")
    ] = OpaqueChoice.fill
    opaque_above: Annotated[float, typer.Option(help="Opacity from which on it cannot.")] = 0.7
    fill_limit: Annotated[
        float | None,
        typer.Option(
            metavar="METRES", help="Fill nothing farther than that from visible ground.  [no limit]"
        ),
    ] = None
    beyond_limit: Annotated[BeyondChoice, typer.Option(help="What to do with what is farther.")] = (
        BeyondChoice.keep
    )
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Another date of the same place, to fill from; again for the next best.",
        ),
    ] = None
    keep_veil: Annotated[
        bool, typer.Option("--keep-veil", help="Leave an even veil over a whole 8-bit picture.")
    ] = False
    model: Annotated[Path | None, typer.Option(help="Model file.  [default: the built-in one]")] = (
        None
    )
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto"
    precision: Annotated[PrecisionChoice, typer.Option(help="Arithmetic of the network.")] = (
        PrecisionChoice.auto
    )
    threads: Annotated[int | None, typer.Option(help="Cores to use.  [default: all]")] = None
    batch_size: Annotated[
        int | None,
        typer.Option(help="Windows in one call of the network.  [default: 32, or 8 a thread]"),
    ] = None
    max_memory: Annotated[
        str, typer.Option(help="Memory that the run may use, like 1GiB or 600MiB.")
    ] = "1GiB"

    format: Annotated[FormatChoice, typer.Option(help="Of the output.")] = FormatChoice.gtiff
    co: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="GDAL creation option; may be repeated."),
    ] = None
    stac: Annotated[
        bool, typer.Option("--stac", help="Write a STAC item beside the output, as .json.")
    ] = False

    def settings(self) -> Settings:
        """How to restore; where to write is the command's to add.

        Raises:
            UsageError: an impossible value.
        """
        from geodecloud.restore.composite import Rule
        from geodecloud.restore.memory import Limits, available_threads
        from geodecloud.restore.windows import Grid

        threads = self.threads if self.threads is not None else available_threads()
        # Two calls at a time, a thread to 16 windows: so all threads have work.
        batch_size = self.batch_size if self.batch_size is not None else max(32, 8 * threads)
        limits = Limits(threads, batch_size, parse_bytes(self.max_memory))
        chosen: dict[str, Any] = {
            "bands": parse_bands(self.bands),
            "scale": self.scale,
            "offset": parse_offset(self.offset),
            "resolution": self.resolution,
            "aoi": self.aoi,
            "mask": self.mask,
            "mask_values": parse_values(self.mask_values),
            "allow_network": self.allow_network,
            "keep_veil": self.keep_veil,
            "stac": self.stac,
            "grid": Grid(self.window, self.overlap),
            "ramp": self.ramp.value,
            "rule": Rule(
                opaque_above=self.opaque_above,
                opaque=self.opaque.value,
                fill_limit=self.fill_limit,
                beyond_limit=self.beyond_limit.value,
            ),
            "references": tuple(self.reference or ()),
            "limits": limits,
        }
        # rasterio takes a second to import: not before the words make sense
        from geodecloud.decloud import Settings
        from geodecloud.raster.profile import parse_form

        return Settings(**chosen, form=parse_form(self.format.value, self.co or ()))

    def predictor(self) -> Predictor:
        """The network that restores.

        Raises:
            ModelError, UsageError: it cannot be loaded, or there is no such device.
        """
        from geodecloud.model.checkpoint import default_model
        from geodecloud.model.predictor import Predictor

        return Predictor(
            self.model or default_model(), self.device, self.precision.value, self.threads
        )


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a typer command, in place of its argument ``options``, one option per field.

    The command's own options come first, as its ``options`` is its last argument.
    """

    @wraps(command)
    def expanded(**given: Any) -> None:
        options = RestoreOptions(**{name: given.pop(name) for name in names})
        command(**given, options=options)

    fields = dataclasses.fields(RestoreOptions)
    names = [field.name for field in fields]
    own = list(inspect.signature(command).parameters.values())[:-1]
    defaults = {p.name: p.default for p in own} | {f.name: f.default for f in fields}
    hints = {
        **typing.get_type_hints(command, include_extras=True),
        **typing.get_type_hints(RestoreOptions, include_extras=True),
    }
    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name]
        )
        for name, default in defaults.items()
    ]
    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {name: hints[name] for name in defaults}
    return expanded
