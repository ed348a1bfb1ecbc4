"""The process is the user's: the library changes nothing of it."""

import os
import random
import re
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import rasterio
import torch
from rasterio.env import get_gdal_config

import geodecloud
from geodecloud.decloud import decloud_scene
from geodecloud.errors import UsageError
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.offline import offline
from geodecloud.raster.scene import open_scene
from geodecloud.raster.thread_options import inherited, options_here, thread_options
from geodecloud.restore.stages import ordered_map, prefetch
from geodecloud.settings import Reading, Settings
from tests.conftest import ROOT, identity, noise, write_scene

OPTIONS = ("GDAL_HTTP_PROXY", "CPL_VSIL_CURL_ALLOWED_FILENAME", "GDAL_NUM_THREADS", "GDAL_CACHEMAX")


def in_thread(function):
    """The result of a function in a thread of its own."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def gdal_options():
    return [get_gdal_config(name) for name in (*OPTIONS, "GDAL_TIFF_INTERNAL_MASK")]


def test_an_option_holds_in_its_thread_and_in_those_that_inherit_it():
    with thread_options({"GDAL_HTTP_PROXY": "outer", "GDAL_NUM_THREADS": "2"}):
        with thread_options({"GDAL_HTTP_PROXY": "inner"}):
            seen = [get_gdal_config(name) for name in ("GDAL_HTTP_PROXY", "GDAL_NUM_THREADS")]
            assert seen == ["inner", 2]
            assert in_thread(partial(get_gdal_config, "GDAL_HTTP_PROXY")) is None
            function = inherited(partial(get_gdal_config, "GDAL_HTTP_PROXY"))
        assert in_thread(function) == "inner"
        assert get_gdal_config("GDAL_HTTP_PROXY") == "outer"
    assert get_gdal_config("GDAL_HTTP_PROXY") is None
    assert options_here() == {}


def test_the_stages_work_with_the_options_of_their_run():
    def options(*_):
        return get_gdal_config("GDAL_HTTP_PROXY")

    with thread_options({"GDAL_HTTP_PROXY": "mine"}):
        nested = prefetch(options() for _ in prefetch(iter("ab")))
        assert list(nested) == ["mine"] * 2
        assert [one for _, one in ordered_map(options, iter("abc"), 2)] == ["mine"] * 3


def test_nothing_of_the_process_changes_during_a_run_or_after(tmp_path, tiny_model):
    src = write_scene(tmp_path / "in.tif", noise((3, 150, 130)))
    before = (dict(os.environ), gdal_options(), torch.get_num_threads())
    states = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())
    seen = []

    def look(patches, dark_object):
        seen.append((dict(os.environ), in_thread(gdal_options), torch.get_num_threads()))
        return identity(patches, dark_object)

    decloud_scene(src, tmp_path / "a.tif", look, Settings(threads=1))
    geodecloud.decloud_array(noise((3, 80, 80)), model=tiny_model, threads=1)
    assert seen
    assert all(one == before for one in seen)
    assert (dict(os.environ), gdal_options(), torch.get_num_threads()) == before
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert random.getstate() == states[2]


def test_the_filters_of_warnings_stay_the_users_whatever_threads_do(tmp_path):
    src = write_scene(tmp_path / "in.tif", noise((3, 60, 60)) // 4, crs=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", geodecloud.GeodecloudWarning)
        before = list(warnings.filters)

        def look(patches, dark_object):
            if not any(one[2] is FutureWarning and one[0] == "error" for one in warnings.filters):
                warnings.simplefilter("error", FutureWarning)  # another thread's
            return identity(patches, dark_object)

        def restore(number):
            decloud_scene(src, tmp_path / f"{number}.tif", look)

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(restore, range(9)))
        assert warnings.filters[1:] == before
        assert warnings.filters[0][::2] == ("error", FutureWarning, 0)
        assert {one.name for one in tmp_path.iterdir()} == {
            "in.tif",
            *map("{}.tif".format, range(9)),
        }


@contextmanager
def served(folder):
    """The port of a server of a folder, in a process of its own: GDAL holds Python's lock."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        [*command, "--directory", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield int(re.search(r"port (\d+)", process.stdout.readline())[1])
        finally:
            process.kill()


def test_other_threads_read_from_the_network_meanwhile(tmp_path):
    src = write_scene(tmp_path / "in.tif", noise((3, 100, 90)))
    with served(tmp_path) as port:
        name = f"/vsicurl/http://127.0.0.1:{port}/in.tif"

        def read_remote():
            options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_HTTP_TIMEOUT": "9"}
            options["CPL_VSIL_CURL_NON_CACHED"] = name
            with rasterio.Env(**options), rasterio.open(name) as opened:
                return opened.read().shape

        def look(patches, dark_object):
            assert in_thread(read_remote) == (3, 100, 90)
            return identity(patches, dark_object)

        decloud_scene(src, tmp_path / "out.tif", look)
        # In this thread rasterio would take the options of the thread for the process's.
        with offline(allowed=False), ThreadPoolExecutor(1) as pool:
            refused = pool.submit(inherited(read_remote))
            assert isinstance(refused.exception(), rasterio.errors.RasterioIOError)


def test_a_vrt_in_a_vrt_does_not_reach_the_network(tmp_path):
    inner, outer = tmp_path / "inner.vrt", tmp_path / "outer.vrt"
    text = (
        '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1">'
        '<SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )
    inner.write_text(text.format("http://example.com/a.tif"))
    outer.write_text(text.format("inner.vrt"))
    with pytest.raises(UsageError, match=r"reads http://example\.com/a\.tif on the network"):
        decloud_scene(outer, tmp_path / "out.tif", identity)
    outer.write_text(text.format("outer.vrt"))  # in a circle
    with pytest.raises(geodecloud.SceneError):
        decloud_scene(outer, tmp_path / "out.tif", identity)


RUN = """
import sys
from pathlib import Path
import numpy as np
from geodecloud.cli.run import run
from geodecloud.decloud import decloud_scene

def restore():
    network = lambda patches, _: np.concatenate([patches, patches[:, :1] * 0], axis=1)
    decloud_scene(Path(sys.argv[1]), Path(sys.argv[2]), network)
"""


@pytest.mark.parametrize(
    "variable",
    [
        "PROJ_LIB",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("PROJ_DATA", "GDAL_DATA")),
    ],
)
def test_data_of_another_installation_never_lose_a_crs(tmp_path, variable):
    """The program has its own; the library, in a user's process, names the variable."""
    src = write_scene(tmp_path / "in.tif", noise((3, 40, 40)) // 4, crs="EPSG:2154")
    (tmp_path / "other").mkdir()
    environment = os.environ | {variable: str(tmp_path / "other"), "PYTHONPATH": str(ROOT)}

    def run(code, out):
        command = [sys.executable, "-c", RUN + code, str(src), str(out)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = run("run(restore)", tmp_path / "program.tif")
    assert (done.returncode, "PROJ" in done.stderr) == (0, False), done.stderr
    with rasterio.open(tmp_path / "program.tif") as out:
        assert out.crs == "EPSG:2154"
    library = tmp_path / "library.tif"
    done = run("restore()", library)
    if variable == "GDAL_DATA":
        with rasterio.open(library) as out:
            assert out.crs == "EPSG:2154"
    else:
        last = done.stderr.strip().splitlines()[-1]
        assert f"{variable} is {tmp_path / 'other'}" in last
        assert f"unset {variable}" in last
        assert not library.exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR"), ("GDAL_PAM_ENABLED", "NO")],
)
def test_what_lies_beside_a_file_is_read_whatever_the_environment_says(
    tmp_path, monkeypatch, option, value
):
    """A mask, and the scale and nodata of a format that has none."""
    valid = np.ones((60, 50), bool)
    valid[:20] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        src = write_scene(tmp_path / "in.tif", noise((3, 60, 50)))
        with rasterio.open(src, "r+") as file:
            file.write_mask(valid)
    png = tmp_path / "in.png"
    size = {"count": 3, "height": 60, "width": 50, "dtype": "uint16"}
    with rasterio.open(png, "w", driver="PNG", **size) as file:
        file.write(noise((3, 60, 50)))
        file.scales = (2e-5,) * 3
    assert {one.name for one in tmp_path.iterdir()} == {
        *("in.tif", "in.tif.msk", "in.png", "in.png.aux.xml"),
    }
    monkeypatch.setenv(option, value)
    for allowed in (False, True):
        with open_scene(src, Reading(allow_network=allowed)) as scene:
            np.testing.assert_array_equal(scene.read(0, 60)[1], valid)
    with open_scene(png) as scene:
        assert calibrate(scene).scale == pytest.approx(50000)


def test_python_options_make_no_failures_of_warnings(tmp_path):
    src = write_scene(tmp_path / "in.tif", noise((3, 40, 40)) // 4, crs=None)
    command = [sys.executable, "-W", "error", "-c", f"{RUN}run(restore)", src, tmp_path / "o.tif"]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "has no CRS" in done.stderr
