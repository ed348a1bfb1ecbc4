"""Text is read as Windows writes it, and a report that cannot be printed undoes no work."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from rasterio.warp import transform_geom

from geodecloud.batch.search import read_names
from geodecloud.errors import UsageError
from geodecloud.raster.scene import open_scene
from geodecloud.settings import Reading
from geodecloud.settings.text import decode
from geodecloud.training.config import load_config
from tests.conftest import ROOT, noise, write_scene

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")
UTM = {
    "type": "Polygon",
    "coordinates": [[[500200, 5499900], [500600, 5499900], [500600, 5499500], [500200, 5499900]]],
}


def lonlat():
    return transform_geom("EPSG:32633", "EPSG:4326", UTM)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_area_and_a_configuration_are_read_in_any_of_windows_encodings(tmp_path, encoding):
    area = tmp_path / "a.geojson"
    area.write_text(json.dumps(lonlat()), encoding=encoding)
    path = write_scene(tmp_path / "s.tif", noise((3, 100, 100)))
    with open_scene(path, reading=Reading(aoi=area)) as scene:
        assert 38 <= scene.shape[0] <= 42
    config = tmp_path / "c.toml"
    config.write_text("[training]\nsteps = 4\n", encoding=encoding)
    assert load_config(config).training.steps == 4
    assert decode("wörter".encode(encoding)) == "wörter"


def test_features_without_a_geometry_are_left_out(tmp_path):
    features = [{"type": "Feature", "geometry": thing} for thing in (None, lonlat())]
    area = tmp_path / "a.geojson"
    area.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    path = write_scene(tmp_path / "s.tif", noise((3, 100, 100)))
    with open_scene(path, reading=Reading(aoi=area)) as scene:
        assert 38 <= scene.shape[0] <= 42


@pytest.mark.parametrize(
    ("area", "words"),
    [
        (UTM, "not a longitude and latitude"),
        ({"type": "Polygon", "coordinates": [[]]}, "no geometry"),
        ({"type": "Polygon", "coordinates": []}, "no geometry"),
        ({"type": "MultiPolygon", "coordinates": [[[]]]}, "no geometry"),
        ({"type": "FeatureCollection", "features": []}, "no geometry"),
        ({"type": "Feature", "geometry": None}, "no geometry"),
        ({"type": "GeometryCollection", "geometries": [None]}, "no geometry"),
        ({"type": "Polygon", "coordinates": [[[np.nan, 1], [2, 3], [4, 5]]]}, "not finite"),
        ({"type": "Polygon", "coordinates": [[[None, 1]]]}, "not a GeoJSON"),
        ({"type": "Polygon", "coordinates": [["a", "b"]]}, "not a GeoJSON"),
        ({"type": "Polygon", "coordinates": 3}, "not a GeoJSON"),
        ({"type": "Polygon", "coordinates": [[[1]]]}, "not a GeoJSON"),
    ],
)
def test_the_area_is_blamed_for_what_it_lacks(tmp_path, area, words):
    file = tmp_path / "a.geojson"
    file.write_text(json.dumps(area))
    path = write_scene(tmp_path / "s.tif", noise((3, 100, 100)))
    with (
        pytest.raises(UsageError, match=rf"a\.geojson.*{words}") as refused,
        open_scene(path, reading=Reading(aoi=file)),
    ):
        pass
    assert "\n" not in str(refused.value)


def run(*arguments, stdin=b"", stdout=subprocess.PIPE, **environment):
    command = [sys.executable, "-m", "geodecloud", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(  # noqa: PLW1510
        command, input=stdin, stdout=stdout, stderr=subprocess.PIPE, env=environment
    )


@pytest.mark.parametrize(
    "text", ["\ufeff{}\n".encode(), "{}\r\n".encode("utf-16"), b"{}\0", b"{}\r\n"]
)
def test_lists_of_scenes_are_read_as_programs_write_them(monkeypatch, text):
    encoding = "utf-16" if text.startswith(b"\xff\xfe") else "utf-8"
    text = text.decode(encoding).format("/d/s ü.tif").encode(encoding)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert read_names(["a.tif", "-"]) == ["a.tif", "/d/s ü.tif"]


def test_a_list_that_is_no_text_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\x80\x81")))
    with pytest.raises(UsageError, match="not UTF-8 text"):
        read_names(["-"])


@pytest.mark.slow
def test_a_batch_reads_its_list_from_a_pipe(tmp_path, tiny_model):
    path = write_scene(tmp_path / "s.tif", noise((3, 70, 70)))
    out = tmp_path / "out"
    text = f"{path}\r\n".encode("utf-16")
    done = run("batch", "-", out, "--model", tiny_model, stdin=text)
    assert (done.returncode, len(list(out.glob("*_clear.tif")))) == (0, 1), done.stderr
    refused = run("batch", "-", out, "--model", tiny_model, stdin=b"\x80\x81")
    assert refused.returncode == 2
    assert b"Traceback" not in refused.stderr


@pytest.mark.slow
def test_a_report_that_stdout_cannot_take_undoes_no_work(tmp_path, tiny_model):
    path = write_scene(tmp_path / "s.tif", noise((3, 70, 70)))
    dst = tmp_path / "\u51fa\u529b.tif"
    options = ("--model", tiny_model, "--overwrite")
    assert run(path, dst, *options, PYTHONIOENCODING="cp1252").returncode == 0
    assert dst.exists()
    if os.path.exists("/dev/full"):  # noqa: PTH110
        with open("/dev/full", "wb") as full:  # noqa: PTH123
            done = run(path, dst, *options, stdout=full)
        assert done.returncode == 0, done.stderr
        assert b"no report" in done.stderr
    closed = f'exec "$0" "$@" >&-'  # noqa: F541
    command = ["sh", "-c", closed, sys.executable, "-m", "geodecloud", path, dst, *options]
    done = subprocess.run(  # noqa: PLW1510
        list(map(str, command)), capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
def test_no_command_fails_for_a_report_of_finished_work(tmp_path, tiny_model):
    path = write_scene(tmp_path / "s.tif", noise((3, 70, 70)) // 4)
    out = tmp_path / "out"
    commands = [
        (path, tmp_path / "c.tif", "--model", tiny_model),
        ("batch", path, out, "--model", tiny_model),
        ("batch", path, out, "--model", tiny_model, "--json"),  # skipped
        ("simulate", path, tmp_path / "cloudy.tif"),
        ("qgis", "zip", tmp_path / "plugin.zip"),
    ]
    for command in commands:
        with open("/dev/full", "wb") as full:  # noqa: PTH123
            done = run(*command, stdout=full)
        assert (done.returncode, b"no report" in done.stderr) == (0, True), done.stderr
    assert {file.name for file in tmp_path.iterdir()} >= {"c.tif", "cloudy.tif", "plugin.zip"}
    assert (out / "s_clear.tif").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
def test_what_a_full_stdout_cannot_take_is_one_line(tmp_path):
    path = write_scene(tmp_path / "s.tif", noise((3, 70, 70)) // 4)
    # What was asked for is not to be had there: one line. A reader that left has read enough.
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = run("info", path, stdout=full)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 2), done.stderr  # and a warning
    assert b"stdout takes no output" in done.stderr
    reading, writing = os.pipe()
    os.close(reading)
    done = run("info", path, "--json", stdout=writing)
    os.close(writing)
    assert (done.returncode, b"rror" in done.stderr) == (0, False), done.stderr
    # Nor does a full stderr fail a run that warns.
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        command = [sys.executable, "-m", "geodecloud", "info", path]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(  # noqa: PLW1510
            command, stdout=subprocess.PIPE, stderr=full, env=environment
        )
    assert (done.returncode, b"width" in done.stdout) == (0, True)
