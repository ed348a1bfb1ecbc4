"""Write docs/results.md: every figure, with the command that prints it.

    python benchmarks/results.py [--data DIR] [--only SECTIONS] [--missing] [--list]

The page has a section for each entry of ``SECTIONS``. The script runs the commands of a section and
lays what they print between the section's markers, word for word. Every section is written as soon
as it is done, so a run that is stopped loses only the section it was at. Without --only it runs all
sections but the long ones; --missing leaves out those that have results.

DATA in a command stands for the folder of the data, RUN for a temporary folder. A section whose
data is absent is not run, and the page says so.
"""

import argparse
import hashlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from geodecloud.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results.md"
MODEL = ROOT / "geodecloud" / "model" / "weights" / "default.safetensors"
WIDTH = 110  # characters of a line of prose
EXIT_CODE = "exit code "
LAST_WORDS = 5  # lines of a failed command's messages that the page shows

EUROSAT = "DATA/EuroSAT_RGB.zip"
PAIRS = "DATA/dev_pairs/sen12mscr20"
SERIES = "DATA/dev_pairs/s2ts8"
COAST = "DATA/scenes/S2_L1C_T18_10m_clear_4band_uint16.tif"
THIN = "0316,0581,0746,1302,2729,6553,6780"
THICK = "2266,3968,4065,4287,4294,4433,4438,5254,5278,5349,6317,7264,7657"
CLEAR = "0316,0581,1302,2729,3968,4065,4287,5278,5349,6553,6780,7264"  # of these, all is clear
REAL_PAIRS = (
    "SEN12MS-CR: Sentinel-2 L1C at 10 m, 256 x 256 pixels, the clear image from another day."
)


@dataclass(frozen=True)
class Section:
    """A part of the page.

    meaning: a sentence on what the figures mean.
    origin: a sentence on where the data is from.
    commands: run one after the other from the repository's root.
    needs: files and folders without which they cannot run.
    long: whether they take so long that only --only runs them.
    """

    name: str
    title: str
    meaning: str
    origin: str
    commands: tuple[str, ...]
    needs: tuple[str, ...]
    long: bool = False


def _judge(name: str) -> str:
    return f"python benchmarks/judge.py --data DATA --only {name}"


def _evaluate(folder: str, names: str, options: str = "") -> str:
    return f"geodecloud evaluate {folder}/cloudy {folder}/clear --only {names}{options}"


SECTIONS = (
    Section(
        "gains",
        "Real pairs: the gain",
        "PSNR of the restored image minus that of the cloudy one, in dB: the mean of the pairs, "
        "the worst pair, and each pair.",
        f"Twenty pairs of {REAL_PAIRS} s2ts8 is one place on five days, see below.",
        (_judge("pairs"),),
        (PAIRS, SERIES),
    ),
    Section(
        "thin",
        "Real pairs under thin cloud or haze",
        "How close the restored images come to the clear ones, over all pixels and by groups.",
        f"Seven pairs of {REAL_PAIRS}",
        (_evaluate(PAIRS, THIN),),
        (PAIRS,),
    ),
    Section(
        "thick",
        "Real pairs under thick cloud",
        "How close the restored images come to the clear ones where most ground is invented.",
        f"The thirteen other pairs of {REAL_PAIRS}",
        (_evaluate(PAIRS, THICK),),
        (PAIRS,),
    ),
    Section(
        "series",
        "Real pairs of another place",
        "How close the restored images come to the clear ones under thin cloud, haze and shadow.",
        "One place on five days, 100 x 100 pixels of Sentinel-2, from s2cloudmask (Apache-2.0); "
        "nothing states the level of the product, which looks like L1C.",
        (_evaluate(SERIES, "t14,t20,t22,t26,t28"),),
        (SERIES,),
    ),
    Section(
        "other_bands",
        "Other bands",
        "How close near infrared and NDVI come to those of the clear image, and, under cloud that "
        "is simulated in 13 bands, the error of each band. Pixels that are filled count as "
        "invented in all bands.",
        f"The twenty pairs of {REAL_PAIRS} 100 multispectral tiles of EuroSAT.",
        ("python benchmarks/other_bands.py --data DATA",),
        (PAIRS, f"{PAIRS}_nir", "DATA/eurosat_ms100"),
    ),
    Section(
        "masks",
        "Cloud masks",
        "User's accuracy is the share of the pixels assigned to a class that belong to it. "
        "Producer's accuracy is the share of the pixels of a class that are assigned to it. "
        "OmniCloudMask has rows where it is installed with its weights.",
        "Labelled scenes, and two scenes with Sentinel-2's own classification (SCL), which is no "
        "truth but another opinion.",
        ("python benchmarks/masks.py --data DATA",),
        ("DATA/scenes",),
    ),
    Section(
        "pixel_sizes",
        "Other pixel sizes",
        "The gain of the seven thin pairs in dB, and the share of clear parts that changes, "
        "resampled to other pixel sizes. The last table has cells of 4 x 4 pixels at any size.",
        f"The thin pairs of {REAL_PAIRS} Parts of 400 x 400 pixels of T18 (two), a Gulf city, a "
        "desert coast and fields, the last two trained on.",
        (
            "python benchmarks/pixel_sizes.py --data DATA",
            "python benchmarks/pixel_sizes.py --data DATA --metres 5,3.333 --cell 4",
        ),
        (PAIRS, "DATA/scenes", "DATA/clear_l1c"),
    ),
    Section(
        "windows256",
        "Larger windows",
        "The thin pairs, then the thick ones, in windows of 256 pixels instead of 64.",
        f"The twenty pairs of {REAL_PAIRS}",
        (_evaluate(PAIRS, THIN, " --window 256"), _evaluate(PAIRS, THICK, " --window 256")),
        (PAIRS,),
    ),
    Section(
        "clear",
        "Clear scenes",
        "The share of the pixels that change although there is no cloud: each is an error. Scenes "
        "with a star were trained on.",
        "Sentinel-2 L1C and L2A at 10 m: a coast, fields, and bright land (a Gulf city, a desert "
        "coast, a beach).",
        (_judge("clear"),),
        ("DATA/scenes", "DATA/clear_l1c"),
    ),
    Section(
        "tiles",
        "Synthetic cloud over held-out tiles",
        "PSNR over all tiles for each kind of cloud, and the share of pixels that stay untouched.",
        "600 EuroSAT tiles, 64 x 64 pixels, that the model was not trained on.",
        (f"geodecloud evaluate --tiles {EUROSAT}",),
        (EUROSAT,),
    ),
    Section(
        "radiometries",
        "Other radiometries",
        "The gain of the seven thin pairs as other products show them, in dB: without path "
        "radiance (L2A), as a true colour image (TCI), and stretched to 8 bits.",
        f"Computed from the thin pairs of {REAL_PAIRS}",
        (_judge("radiometries"),),
        (PAIRS,),
    ),
    Section(
        "generality",
        "Clouds of another synthesis",
        "The gain under veils and clouds that training never shows, and the share of clear images "
        "that changes; then the gain of the thin pairs in four radiometries.",
        f"Twelve clear images and seven pairs of {REAL_PAIRS}",
        (
            f"python benchmarks/generality.py {PAIRS}/clear --only {CLEAR}",
            f"python benchmarks/generality.py {PAIRS}/clear --cloudy {PAIRS}/cloudy --only {THIN}",
        ),
        (PAIRS,),
    ),
    Section(
        "shadows",
        "Simulated shadow",
        "The error inside a shadow after restoring, as a share of the error before.",
        "Shadows simulated over parts of three real scenes, Sentinel-2 L1C: a clear coast, Mol, "
        "and clear fields that were trained on (with a star).",
        (_judge("shadows"),),
        ("DATA/scenes",),
    ),
    Section(
        "seen_shadows",
        "Real shadows that are still seen",
        "How far the brightness of 4 x 4 pixels differs from the mean of the sunlit land around, "
        "as the root mean square of the log ratio. In well-relit shadows it is as large as in the "
        "sun. If it is smaller, differences of the land are lost.",
        "Real cloudy scenes. No clear image is known.",
        ("python benchmarks/seen_shadows.py --data DATA",),
        ("DATA/scenes",),
    ),
    Section(
        "cloudy",
        "Real cloudy scenes",
        "The share of the windows that the network computed, and the shares of pixels that "
        "changed, were invented, and were relit. No clear image is known.",
        "Nine scenes of Sentinel-2 and Landsat 8, from 10 to 60 m.",
        (_judge("cloudy"),),
        ("DATA/scenes",),
    ),
    Section(
        "gate",
        "Windows left out",
        "Of the pixels that change if all windows are computed, the share that stays as measured "
        "because its windows were left out.",
        "The nine scenes of the section before.",
        (_judge("gate"),),
        ("DATA/scenes",),
    ),
    Section(
        "windows",
        "Windows computed under cumulus",
        "The last column is the share of the windows that the network computed. The simulated "
        "clouds come with a haze of opacity 0.1 all over, so that every window has some.",
        "A real clear coast (Sentinel-2 L1C, T18) under simulated cumulus.",
        (f"python benchmarks/full_tile.py {COAST} --size 1947 --rows 1933 --part 0",),
        (COAST,),
    ),
    Section(
        "speed",
        "A tile by its clouds, and other tools",
        "Seconds from end to end, of plain reading, and of the network alone, by the share of the "
        "tile under clouds. The last columns say how many times as long other ways to run the same "
        "network take. Seconds depend on the machine, ratios less.",
        "The same coast, mirrored to a quarter of a Sentinel-2 tile, under simulated cumulus.",
        (
            f"python benchmarks/full_tile.py {COAST} --shares 0,10,30,60,100 --rows 2745 "
            "--part 1024",
        ),
        (COAST,),
        long=True,
    ),
    Section(
        "recipes",
        "The article's recipe and ours",
        "Two models trained from random weights for about the same time on one core, scored on the "
        "same tiles.",
        "600 EuroSAT tiles that neither was trained on.",
        (
            f"geodecloud train --config configs/article.toml --data {EUROSAT} --out RUN/article "
            "--steps 215",
            f"geodecloud train --config configs/physical.toml --data {EUROSAT} --out RUN/default "
            "--steps 700",
            f"geodecloud evaluate --tiles {EUROSAT} --model RUN/article/last.safetensors",
            f"geodecloud evaluate --tiles {EUROSAT} --model RUN/default/last.safetensors",
        ),
        (EUROSAT,),
        long=True,
    ),
)

INTRODUCTION = """\
# Results

Every figure on this page stands under the command that printed it. `python benchmarks/results.py`
runs the commands and writes the page. The output is shown word for word, but `DATA` stands for the
folder of the data and `RUN` for a temporary folder.

PSNR is in dB, of values in model range: 1 is reflectance 0.275, and brighter pixels count as 1.
*identity* is the cloudy image as it is.
"""


def markers(section: Section) -> tuple[str, str]:
    """Return the lines between which the section's results stand."""
    return f"<!-- begin {section.name} -->", f"<!-- end {section.name} -->"


def read_results(page: str) -> dict[str, str]:
    """Return the results that a page has, by the section's name."""
    found = {}
    for section in SECTIONS:
        begin, end = map(re.escape, markers(section))
        if match := re.search(f"{begin}\n(.*?)\n{end}", page, re.DOTALL):
            found[section.name] = match[1]
    return found


def write_page(results: dict[str, str]) -> str:
    """Return the page with these results; a section without any says that it has not been run."""
    parts = [INTRODUCTION]
    for section in SECTIONS:
        begin, end = markers(section)
        body = results.get(section.name) or not_run(section, "Not run yet.")
        about = textwrap.fill(f"{section.meaning} *Data:* {section.origin}", WIDTH)
        parts.append(f"## {section.title}\n\n{about}\n\n{begin}\n{body}\n{end}\n")
    return "\n".join(parts)


def not_run(section: Section, why: str) -> str:
    """Return what stands in place of results."""
    return f"{why}\n\n{fenced(f'$ {command}' for command in section.commands)}"


def has_results(text: str | None) -> bool:
    """Return whether a section's text comes from commands that ran, all without failure."""
    return bool(text) and not text.startswith("Not run") and f"\n{EXIT_CODE}" not in text


def run_section(section: Section, data: Path) -> tuple[str, bool]:
    """Run the commands of a section; return its text, and whether none failed."""
    if absent := [need for need in section.needs if not Path(_at(need, data)).exists()]:
        return not_run(section, f"Not run: {', '.join(absent)} is absent."), True
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for command in section.commands:
            words = [_at(word, data).replace("RUN", folder) for word in shlex.split(command)]
            print(f"$ {command}", flush=True)
            printed, code = run_command(words)
            lines += ["", f"$ {command}", *printed]
            if code:  # the next may need what this one makes
                lines.append(f"{EXIT_CODE}{code}")
                break
    names = {str(data): "DATA", folder: "RUN", f"{ROOT}/": ""}
    text = fenced(lines[1:])
    for path, name in names.items():
        text = text.replace(path, name)
    return f"{model_line()}\n\n{text}", code == 0


def _at(path: str, data: Path) -> str:
    return path.replace("DATA", str(data))


def run_command(words: list[str]) -> tuple[list[str], int]:
    """Run a command with this Python, and show its lines as they come.

    Returns:
        the lines that it printed, with the last of its messages if it failed; its exit code.
    """
    start = {"python": [], "geodecloud": ["-m", "geodecloud"]}[words[0]]
    command = [sys.executable, *start, *words[1:]]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    lines = []
    with tempfile.TemporaryFile("w+") as messages:
        kwargs = {"cwd": ROOT, "env": environment, "stderr": messages, "text": True}
        with subprocess.Popen(command, stdout=subprocess.PIPE, **kwargs) as process:
            for line in process.stdout:
                lines.append(line.rstrip())
                print(lines[-1], flush=True)
        if process.returncode:
            messages.seek(0)
            lines += messages.read().rstrip().splitlines()[-LAST_WORDS:]
    return lines, process.returncode


def fenced(lines: Iterable[str]) -> str:
    """Return lines as a block of code."""
    return "\n".join(["```", *lines, "```"])


def model_line() -> str:
    """Return which version ran, with which model."""
    digest = hashlib.sha256(MODEL.read_bytes()).hexdigest()[:12]
    return f"Version {VERSION}, built-in model (sha256 {digest}...)."


def wanted_sections(only: str | None) -> list[Section]:
    """Return the sections of these names; None: all but the long ones.

    Raises:
        ValueError: a name is unknown.
    """
    if only is None:
        return [section for section in SECTIONS if not section.long]
    known = {section.name: section for section in SECTIONS}
    if unknown := [name for name in only.split(",") if name not in known]:
        raise ValueError(f"--only {','.join(unknown)}: give some of {', '.join(known)}")
    return [known[name] for name in only.split(",")]


def show_sections() -> None:
    """Print all sections and their commands."""
    for section in SECTIONS:
        print(f"{section.name}{' (long)' if section.long else ''}")
        print("".join(f"    {command}\n" for command in section.commands), end="")


def main() -> None:
    """Run the sections and write each into the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", help="names of sections, separated by commas")
    parser.add_argument("--missing", action="store_true", help="leave out those that have results")
    parser.add_argument("--list", action="store_true", help="print the sections and their commands")
    options = parser.parse_args()
    if options.list:
        show_sections()
        return
    try:
        wanted = wanted_sections(options.only)
    except ValueError as error:
        parser.error(str(error))
    results = read_results(PAGE.read_text("utf-8")) if PAGE.exists() else {}
    failed = []
    for section in wanted:
        if options.missing and has_results(results.get(section.name)):
            continue
        text, good = run_section(section, options.data.resolve())
        if not good:
            failed.append(section.name)
        if text.startswith("Not run") and has_results(results.get(section.name)):
            print(f"{section.name}: data are absent; the results on the page stay")
            continue
        results[section.name] = text
        PAGE.write_text(write_page(results), "utf-8")
    PAGE.write_text(write_page(results), "utf-8")
    if failed:
        sys.exit(f"a command failed in: {', '.join(failed)}")


if __name__ == "__main__":
    main()
