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
        if path.exists() and self._text() != kept:
            with atomic_write(path) as part:
                part.write_text(kept, encoding="utf-8")

    def read(self) -> list[dict[str, Any]]:
        """Return the lines, without a last one that was cut off and without damaged ones."""
        if not self.path.exists():
            return []
        complete = self._text().split("\n")[:-1]
        return [line for line in map(_parsed, complete) if line]

    def append(self, line: dict[str, Any]) -> None:
        """Append a line; NaN and infinity become null."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(json_scores(line)) + "\n")

    def _text(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="replace")


def _parsed(line: str) -> dict[str, Any] | None:
    """Return a line's object; None: the line is damaged, as a power cut may leave it."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("step"), int) else None
