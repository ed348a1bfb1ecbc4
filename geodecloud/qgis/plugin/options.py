"""Hold the texts of the options in the dialogs, equal to those of the program's settings.

QGIS's Python cannot import the settings, so a test compares the two. Needs the standard
library only, and Python 3.9: QGIS brings its own interpreter.
"""

from __future__ import annotations

CLOUDS = ["haze", "veil", "cirrus", "cumulus", "deck"]  # kinds that the program simulates
# Option of the program -> help text, default.
OPTIONS = {
    "--bands": ("Band numbers of red, green and blue, counted from 1", "by name or colour"),
    "--extra-bands": (
        "Bands besides red, green and blue to read from a Sentinel-2 product or files of one band "
        "each: names like B08,B8A,B11, all, or none",
        "near infrared, if it is on the grid of red",
    ),
    "--wavelengths": (
        "Central wavelengths of the bands other than red, green and blue, in order; 0 for a band "
        "that shows no ground",
        "by name",
    ),
    "--scale": (
        "DN (pixel value) of reflectance 1, after adding the offset",
        "from the file, else 10000 for integers, 1 for floats",
    ),
    "--offset": (
        "Number to add to each DN before scaling, like -1000 for Sentinel-2 since 2022",
        "from the file, else 0",
    ),
    "--nodata": (
        "DN that means nodata in red, green or blue, in place of what the file declares",
        "from the file, else found along the scene's border",
    ),
    "--dst-nodata": ("Nodata value of the output, for a scene that declares none", "none"),
    "--mask": (
        "Cloud mask or Sentinel-2 scene classification (SCL); only its cloud pixels change",
        "",
    ),
    "--mask-values": (
        "Mask values that mean cloud: numbers or ranges, like 1,3-5",
        "3,8,9,10 for an SCL, else all but 0",
    ),
    "--keep-haze": (
        "Do not remove uniform haze from 8-bit pictures",
        "",
    ),
    "--force": (
        "Run even if scale and offset are doubtful, most of the scene would be invented, or the "
        "scene has been restored already",
        "",
    ),
    "--opaque": (
        "Treatment of opaque pixels: fill them in, keep their cloud, or set nodata",
        "fill",
    ),
    "--opaque-above": (
        "Pixels at or above this opacity (0 to 1) count as opaque",
        "0.45",
    ),
    "--fill-limit": (
        "Largest distance from visible ground at which opaque pixels are filled",
        "no limit",
    ),
    "--beyond-limit": (
        "Treatment of opaque pixels beyond the fill limit: keep their cloud, or set nodata",
        "keep",
    ),
    "--shadows": (
        "Treatment of cloud shadows: relight them, keep them, or fill them like opaque pixels",
        "restore",
    ),
    "--other-bands": (
        "Treatment of changed pixels in bands other than red, green and blue whose wavelength is "
        "known: restore, keep, or set nodata",
        "restore",
    ),
    "--reference": (
        "Clear image of another date to fill opaque pixels from; repeatable, best first",
        "",
    ),
    "--window": ("Width and height of a window, a multiple of 16", "64"),
    "--overlap": ("Overlap of neighbouring windows, at most half a window", "16"),
    "--provenance": (
        "Provenance GeoTIFF to write: measured, restored or invented",
        "",
    ),
    "--opacity": (
        "GeoTIFF to write: opacity of cloud and depth of shadow, in percent",
        "",
    ),
    "--cloud-mask": (
        "Cloud mask GeoTIFF to write: clear, thick cloud, thin cloud, cloud shadow",
        "",
    ),
    "--mask-buffer": ("Distance by which the clouds of the mask grow", "none"),
    "--overwrite": ("Replace existing outputs", ""),
    "--model": ("Model file (.safetensors)", "the built-in model"),
    "--device": ("Device of the network: auto, cpu, cuda, cuda:1 or mps", "auto"),
}


def help_of(option: str) -> str:
    """Return the help text of an option in the dialogs."""
    text, default = OPTIONS[option]
    return f"{text}. Default: {default}." if default else f"{text}."


def text_of(number: float) -> str:
    """Return a number as the program reads it: with all its digits, a whole one without a point."""
    return repr(number).removesuffix(".0")
