"""What a VRT reads is an input too, however deep it lies: no output replaces it."""

from itertools import pairwise
from pathlib import Path

import pytest
from rasterio.shutil import copy

from geodecloud.decloud import decloud_scene
from geodecloud.errors import OutputError, UsageError
from geodecloud.raster import vrt_sources
from geodecloud.raster.offline import refuse_remote
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


@pytest.mark.parametrize("names", [["loop.vrt"], ["../{}/loop.vrt", "../{0}/../{0}/loop.vrt"]])
def test_a_vrt_that_reads_itself_has_an_end(tmp_path, names):
    path = tmp_path / "loop.vrt"
    source = '<SourceFilename relativeToVRT="1">{}</SourceFilename>'
    sources = [source.format(name.format(tmp_path.name)) for name in names]
    path.write_text("".join(["<VRTDataset>", *sources]))
    assert files_read([path]) == [str(path)]


def test_each_vrt_is_read_once_however_often_others_name_it(tmp_path, monkeypatch):
    read = []
    xml_of = vrt_sources.xml_of
    monkeypatch.setattr(vrt_sources, "xml_of", lambda name: read.append(name) or xml_of(name))
    twice = '<SourceFilename relativeToVRT="1">{}.vrt</SourceFilename>' * 2
    for level in range(6):
        (tmp_path / f"{level}.vrt").write_text("<VRTDataset>" + twice.format(*[level + 1] * 2))
    refuse_remote(str(tmp_path / "0.vrt"), allowed=False)
    assert len(read) == 7


@pytest.mark.parametrize("depth", [1, 12])
def test_a_source_on_the_network_is_found_however_deep_it_lies(scene, tmp_path, depth):
    outer = vrt_of(scene, depth)
    inner = tmp_path / "base0.vrt"
    refuse_remote(str(outer), allowed=False)
    inner.write_text(inner.read_text().replace("base.tif", "/vsicurl/http://a.b/c.tif"))
    with pytest.raises(UsageError, match=r"reads /vsicurl/http://a\.b/c\.tif on the network"):
        refuse_remote(str(outer), allowed=False)


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
