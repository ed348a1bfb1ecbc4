"""Run the command line by ``python -m geodecloud``."""

from geodecloud.cli.main import main

main()
