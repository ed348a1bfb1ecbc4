"""Install the QGIS plugin, pack it, and check what is missing."""

from pathlib import Path
from typing import Annotated

import typer

from geodecloud.cli.console import answer, say
from geodecloud.cli.options import OverwriteOption
from geodecloud.cli.program import Command

ProfileOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="QGIS profile to use", show_default="the one QGIS starts with"
    ),
]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command(cls=Command)
def install(profile: ProfileOption = None) -> None:
    """Copy the plugin into a QGIS profile; it will start this program."""
    from geodecloud.qgis import profiles

    fresh = profile is None and not profiles.any_profile()
    for found in [profiles.make_profile()] if fresh else profiles.find_profiles(profile):
        profiles.install(found)
        say(f"{found.plugin}: installed")
    say(
        "Restart QGIS if it is open. Then tick geodecloud under Plugins > Manage and Install "
        "Plugins > Installed, or run: qgis_process plugins enable geodecloud"
    )


@app.command(name="zip", cls=Command)
def write_zip(
    out: Annotated[Path, typer.Argument(metavar="OUT.zip", help="Archive to write")],
    overwrite: OverwriteOption = False,
) -> None:
    """Write the plugin as an archive for "Install from ZIP" of QGIS."""
    from geodecloud.qgis import profiles

    profiles.write_zip(out, overwrite=overwrite)
    say(f"{out}: written")


@app.command(cls=Command)
def doctor(profile: ProfileOption = None) -> None:
    """Check QGIS, the plugin and this program, and show what is missing."""
    from geodecloud.qgis import profiles

    findings = list(profiles.examine(profile))
    for finding in findings:
        answer(f"{'ok' if finding.well else 'MISSING':>8}  {finding.subject}: {finding.message}")
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)
