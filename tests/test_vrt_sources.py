"""What a VRT reads is an input too, however deep it lies: no output replaces it."""

from itertools import pairwise
from pathlib import Path

import pytest
from rasterio.shutil import copy

from geodecloud.decloud import decloud_scene
from geodecloud.errors import OutputError
from geodecloud.raster.vrt_sources import files_read
from geodecloud.settings import Settings
from tests.conftest import identity, noise, write_scene


def vrt_of(path: Path, depth: int = 2) -> Path:
    """A VRT of a VRT ... of a file."""
    names = [path.name, *(f"{path.stem}{level}.vrt" for level in range(depth))]
    copy(path, path.with_name(names[1]), driver="VRT")
    text = path.with_name(names[1]).read_text()
    for inner, outer in pairwise(names):
        path.with_name(outer).write_text(text.replace(path.name, inner))
    return path.with_name(names[-1])


@pytest.fixture
def scene(tmp_path) -> Path:
    return write_scene(tmp_path / "base.tif", noise((3, 70, 60)))


def test_files_are_found_through_vrts(scene, tmp_path):
    outer = vrt_of(scene, 3)
    found = files_read([outer, tmp_path / "else.tif"])
    names = ["base2.vrt", "else.tif", "base1.vrt", "base0.vrt", "base.tif"]
    assert [Path(one).name for one in found] == names
    assert Path(found[-1]).samefile(scene)


def test_a_vrt_that_reads_itself_has_an_end(tmp_path):
    path = tmp_path / "loop.vrt"
    path.write_text('<VRTDataset><SourceFilename relativeToVRT="1">loop.vrt</SourceFilename>')
    assert files_read([path]) == [str(path)]


@pytest.mark.parametrize("kind", ["dst", "provenance", "mask", "references"])
def test_no_output_replaces_what_a_nested_vrt_reads(scene, tmp_path, kind):
    other = write_scene(tmp_path / "other.tif", noise((1 if kind == "mask" else 3, 70, 60)))
    victim = other if kind in ("mask", "references") else scene
    before = victim.read_bytes()
    more = {
        "dst": {},
        "provenance": {"provenance": victim},
        "mask": {"mask": vrt_of(other)},
        "references": {"references": (vrt_of(other),)},
    }[kind]
    settings = Settings(overwrite=True, scale=10000, offset=0).replace(**more)
    dst = tmp_path / "out.tif" if kind == "provenance" else victim
    with pytest.raises(OutputError, match="is the input itself"):
        decloud_scene(vrt_of(scene), dst, identity, settings)
    assert victim.read_bytes() == before
