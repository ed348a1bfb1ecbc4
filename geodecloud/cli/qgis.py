"""The commands around the QGIS plugin: install it, pack it, find out what is missing."""

from pathlib import Path
from typing import Annotated

import typer

from geodecloud.cli.console import OverwriteOption

ProfileOption = Annotated[
    str | None, typer.Option(help="Of the user in QGIS.  [default: the one it starts with]")
]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def add_commands(program: typer.Typer) -> None:
    """Give the program the commands of this module."""
    program.add_typer(app, name="qgis", help="Cloud removal in the Processing Toolbox of QGIS.")


@app.command()
def install(profile: ProfileOption = None) -> None:
    """Copy the plugin into the QGIS profile, where it will start this program."""
    from geodecloud.qgis import profiles

    for found in profiles.find_profiles(profile):
        profiles.install(found)
        typer.echo(f"{found.plugin}: installed")
    typer.echo(
        "Now tick geodecloud in QGIS under Plugins > Manage and Install Plugins > Installed "
        "(restart it first if it is open)."
    )


@app.command(name="zip")
def write_zip(
    out: Annotated[Path, typer.Argument(metavar="OUT.zip", help="The archive to write.")],
    overwrite: OverwriteOption = False,
) -> None:
    """Write the plugin as an archive, for 'Install from ZIP' of QGIS."""
    from geodecloud.qgis import profiles

    profiles.write_zip(out, overwrite=overwrite)
    typer.echo(f"{out}: written")


@app.command()
def doctor(profile: ProfileOption = None) -> None:
    """Say what is found of QGIS, the plugin and this program, and what is missing."""
    from geodecloud.qgis import profiles

    findings = list(profiles.examine(profile))
    for finding in findings:
        typer.echo(f"{'ok' if finding.well else 'MISSING':>8}  {finding.subject}: {finding.words}")
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)
