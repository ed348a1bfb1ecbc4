"""Names of temporary files never reach a user; the codes of provenance do."""

import itertools
import json
import tempfile

import pytest
import rasterio

from geodecloud import Provenance, restore_arrays
from geodecloud.decloud import decloud_scene
from geodecloud.errors import OutputError, SceneError
from geodecloud.raster import writer
from geodecloud.raster.array import write_array
from geodecloud.restore_arrays import restore_array
from geodecloud.settings import Settings
from tests.conftest import identity, noise, read, write_scene

DARK = noise((3, 200, 80)) // 4


def test_a_report_of_an_array_names_no_file():
    done = restore_array(DARK, identity, Settings())
    facts = json.dumps(done.report.to_dict())
    assert tempfile.gettempdir() not in facts
    assert ".tif" not in facts


def test_errors_of_an_array_name_no_temporary_file(monkeypatch, tmp_path):
    def write_half(path, *rest):
        write_array(path, *rest)
        with path.open("r+b") as file:
            file.truncate(len(path.read_bytes()) // 2)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with monkeypatch.context() as damaging:
        damaging.setattr(restore_arrays, "write_array", write_half)
        with pytest.raises(SceneError, match="the array: damaged or truncated") as damaged:
            restore_array(DARK, identity, Settings())
    assert "geodecloud-" not in str(damaged.value)
    numbers = itertools.count()
    monkeypatch.setattr(writer, "_checksum", lambda _: next(numbers))
    with pytest.raises(OutputError, match="cannot be written there") as failed:
        restore_array(DARK, identity, Settings())
    assert str(failed.value).startswith(f"{tmp_path}: ")
    assert "geodecloud-" not in str(failed.value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match="set TMPDIR"):
        restore_array(DARK, identity, Settings())


def test_a_failed_write_names_the_folder_not_the_unfinished_file(monkeypatch, tmp_path):
    src = write_scene(tmp_path / "in.tif", DARK)

    def fail(self, *_, **__):
        raise rasterio.errors.RasterioIOError(f"{self._dataset.name}: No space left on device")

    monkeypatch.setattr(writer.RowWriter, "write", fail)
    with pytest.raises(OutputError, match="No space left") as failed:
        decloud_scene(src, tmp_path / "out.tif", identity)
    assert ".part" not in str(failed.value)


def test_info_shows_the_codes_of_provenance(cli, tmp_path):
    src = write_scene(tmp_path / "in.tif", DARK)
    codes = json.loads(cli("info", src, "--json").out)["provenance_codes"]
    for code in Provenance:
        assert str(int(code)) in codes or code == Provenance.REFERENCE
    assert set(codes) >= {"1-100", "110-209"}
    assert "104 cloud, kept" in cli("info", src).out
    provenance = tmp_path / "p.tif"
    decloud_scene(src, tmp_path / "out.tif", identity, Settings(provenance=provenance))
    facts = json.loads(cli("info", provenance, "--json").out)
    fraction = (read(provenance) == 0).mean()
    assert facts.get("0: measured, unchanged", 0) == pytest.approx(fraction, abs=1e-6)
    assert sum(value for name, value in facts.items() if name != "provenance") == pytest.approx(1)
