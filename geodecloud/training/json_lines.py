"""Write a file of JSON objects, one on each line; a resumed run appends to it."""

import json
from pathlib import Path
from typing import Any

from geodecloud.evaluation.tables import json_scores
from geodecloud.raster.atomic import atomic_write


class JsonLines:
    """A file of JSON lines, each with its ``step``.

    Args:
        path: of the file.
        step: of the run. Lines of later steps are removed, since the run writes them again.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        kept = "".join(json.dumps(line) + "\n" for line in self.read() if line["step"] <= step)
        if path.exists() and path.read_text(encoding="utf-8") != kept:
            with atomic_write(path) as part:
                part.write_text(kept, encoding="utf-8")

    def read(self) -> list[dict[str, Any]]:
        """Return the lines, without a last one that was cut off."""
        if not self.path.exists():
            return []
        complete = self.path.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in complete if line.strip()]

    def append(self, line: dict[str, Any]) -> None:
        """Append a line; NaN and infinity become null."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(json_scores(line)) + "\n")
