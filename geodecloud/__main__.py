"""``python -m geodecloud``."""

from geodecloud.cli import main

main()
