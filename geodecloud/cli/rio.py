"""Offer the program as a command of rasterio: ``rio decloud SRC DST``.

``rio`` imports this module each time it runs. So it imports the rest of the package only when the
command is called.
"""

import click


@click.command(
    add_help_option=False,  # --help belongs to the program, too
    context_settings={"ignore_unknown_options": True},
    short_help="Remove clouds, and say which pixels were invented.",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def decloud(words: tuple[str, ...]) -> None:
    """Run ``geodecloud`` with the same words."""
    from geodecloud.cli.main import main

    main(list(words))
