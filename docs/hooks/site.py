"""Put into the site what stands elsewhere: generated references, files of the repository.

MkDocs calls these functions while it builds, see ``hooks`` in ``mkdocs.yml``.
"""

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from docs.hooks.command_line import command_line  # noqa: E402
from docs.hooks.notebooks import notebook_pages  # noqa: E402
from docs.hooks.python_api import python_api  # noqa: E402

_GENERATED = {
    "<!-- generated: command line -->": command_line,
    "<!-- generated: python -->": python_api,
}
# Path in the site -> file of the repository.
_COPIED = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "model-card.md": "geodecloud/model/weights/MODEL_CARD.md",
    "preview.png": "sample_data/preview.png",
    "icon.svg": "geodecloud/qgis/plugin/icon.svg",
}


def on_files(files: Any, config: Any) -> Any:
    """Add files of the repository that stand outside of the folder of the docs."""
    for path, source in _COPIED.items():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / source)))
    for path, content in notebook_pages(ROOT / "examples"):
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in generated parts, and point links to copied files at the site's pages."""
    for mark, generate in _GENERATED.items():
        if mark in markdown:
            markdown = markdown.replace(mark, generate())
    for path, source in _COPIED.items():
        markdown = markdown.replace(f"](../{source}", f"]({path}")
    return re.sub(r"\]\(\.\./examples/(\w+)\.py", r"](examples/\1.md", markdown)
