"""Laws of the whole path, from file to file, with simple functions in place of the network."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geodecloud.decloud import decloud_scene
from geodecloud.errors import NodataWarning
from geodecloud.raster.provenance import Provenance
from geodecloud.restore.windows import WindowGrid
from geodecloud.settings import Limits, Settings
from tests.conftest import darken, identity, noise, read, write_scene

shapes = st.tuples(st.integers(1, 150), st.integers(1, 100))
some_grids = st.sampled_from(
    [
        WindowGrid(16, 8),
        WindowGrid(32, 5),
        WindowGrid(64, 16),
        WindowGrid(64, 0),
        WindowGrid(64, 32),
    ]
)
on_disk = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@on_disk
@given(
    shapes,
    some_grids,
    st.sampled_from(["uint8", "uint16", "int16", "float32", "float64", "int32"]),
    st.sampled_from(["cosine", "linear"]),
    st.integers(0, 100),
)
def test_identity_in_identical_out(tmp_path, shape, grid, dtype, ramp, seed):
    dn = noise((4, *shape), dtype, seed)
    dn.flat[:: max(1, dn.size // 5)] = 255 if dtype == "uint8" else 16000  # beyond the range
    src = write_scene(tmp_path / "in.tif", dn, nodata=0)
    chosen = Settings(
        window=grid.size,
        overlap=grid.overlap,
        ramp=ramp,
        overwrite=True,
        provenance=tmp_path / "p.tif",
    )
    report = decloud_scene(src, tmp_path / "out.tif", identity, chosen)
    np.testing.assert_array_equal(read(tmp_path / "out.tif"), dn)
    assert read(tmp_path / "p.tif").shape == (1, *shape)
    assert report.valid == shape[0] * shape[1]
    assert report.changed_fraction == 1.0  # cloud everywhere, whatever the change


@on_disk
@given(shapes, some_grids, st.integers(0, 100))
def test_only_what_is_called_cloud_changes(tmp_path, shape, grid, seed):
    small = noise((5, *(-(-length // 16) for length in shape)), seed=seed)
    dn = np.kron(small, np.ones((1, 16, 16), small.dtype))[:, : shape[0], : shape[1]]
    # Blue as bright as L1C's: nothing is put back before the network.
    dn[0] = np.maximum(dn[0], 800)
    src = write_scene(tmp_path / "in.tif", dn)
    chosen = Settings(
        bands=(4, 2, 1),
        window=grid.size,
        overlap=grid.overlap,
        overwrite=True,
        provenance=tmp_path / "p.tif",
    )
    report = decloud_scene(src, tmp_path / "out.tif", darken, chosen)
    out, marks = read(tmp_path / "out.tif"), read(tmp_path / "p.tif")[0]
    measured = marks == Provenance.MEASURED
    np.testing.assert_array_equal(out[:, measured], dn[:, measured])
    np.testing.assert_array_equal(out[[2, 4]], dn[[2, 4]])  # bands that were not chosen
    cloud = dn[3] > 0.5 * 2750 + 1
    assert (marks[cloud] == 100).all()
    assert (marks[dn[3] < 0.5 * 2750 - 1] == Provenance.MEASURED).all()
    assert report.changed == (marks != Provenance.MEASURED).sum()
    within = cloud & (dn[3] <= 2750)
    np.testing.assert_allclose(out[3][within], dn[3][within] / 2, atol=1)


@pytest.mark.parametrize("nodata", [0, 65535, None])
def test_nodata_stays_and_never_reaches_a_neighbour(tmp_path, nodata):
    """The network's answer depends on all of its window: what it sees must not depend on nodata."""
    dn = noise((3, 130, 170), seed=3)
    holes = np.zeros(dn.shape[1:], bool)
    holes[20:50, 40:] = True
    holes[:, :10] = True
    results = []
    for value in (nodata, 40000) if nodata is not None else (0, 40000):
        with_holes = np.where(holes, np.uint16(value), dn)
        src = tmp_path / f"{value}.tif"
        if nodata is None:  # an internal mask says it
            with (
                rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
                rasterio.open(write_scene(src, with_holes), "r+") as file,
            ):
                file.write_mask(~holes)
        else:
            write_scene(src, with_holes, nodata=value)
        out, marks = tmp_path / f"out{value}.tif", tmp_path / f"p{value}.tif"
        decloud_scene(src, out, _mean_of_patch, Settings(provenance=marks))
        result = read(out)
        assert (result[:, holes] == value).all()
        assert (read(marks)[0][holes] == Provenance.NODATA).all()
        with rasterio.open(out) as file:
            np.testing.assert_array_equal(file.dataset_mask() > 0, ~holes)
        results.append(result[:, ~holes])
    np.testing.assert_array_equal(*results)


def _mean_of_patch(patches, _):
    mean = patches.mean(axis=(2, 3), keepdims=True)
    return np.concatenate([patches * 0 + mean, patches[:, :1] * 0 + 0.3], axis=1)


def test_nan_and_infinity_stay(tmp_path):
    dn = noise((3, 80, 80), "float32")
    dn[0, 10:20, 10:20] = np.nan
    dn[2, 50, 50] = np.inf
    src = write_scene(tmp_path / "in.tif", dn)
    decloud_scene(
        src, tmp_path / "out.tif", _mean_of_patch, Settings(provenance=tmp_path / "p.tif")
    )
    out, bad = read(tmp_path / "out.tif"), ~np.isfinite(dn).all(axis=0)
    np.testing.assert_array_equal(out[:, bad], dn[:, bad])
    assert np.isfinite(out[:, ~bad]).all()
    assert (read(tmp_path / "p.tif")[0][bad] == Provenance.NODATA).all()


def test_of_windows_of_one_colour_one_is_asked(tmp_path):
    """And the file is that of all being asked, one in each call."""
    dn = noise((3, 120, 600)) // 30  # so low that it has one pass
    dn[:, :, 150:450] = 20_000  # saturated, whatever the noise
    dn[:, 40:118, 470:590] = 0  # black, but not nodata: it does not reach the border
    src = write_scene(tmp_path / "in.tif", dn)
    outputs, asked = set(), {}
    for batch_size in (1, 5, 64):
        seen = asked.setdefault(batch_size, [])

        def remember(patches, _, seen=seen):
            seen.extend(patches)
            return _mean_of_patch(patches, _)

        chosen = Settings(limits=Limits(batch_size=batch_size), overwrite=True)
        report = decloud_scene(src, tmp_path / "out.tif", remember, chosen)
        assert report.windows_skipped == 0  # whatever the batches: each has its answer
        outputs.add((tmp_path / "out.tif").read_bytes())
    assert len(outputs) == 1
    assert len(asked[1]) == report.windows == 39
    even = [np.ptp(patch, axis=(1, 2)).max() == 0 for patch in asked[64]]
    assert 2 <= sum(even) <= 2 * 3  # in each row of windows, or in a strip of more


def test_windows_without_data_are_skipped(tmp_path):
    dn = noise((3, 64, 64 * 10))
    dn[:, :, 64:] = 0
    src = write_scene(tmp_path / "in.tif", dn, nodata=0)
    seen = []

    def count(patches, _):
        seen.append(len(patches))
        return identity(patches, _)

    report = decloud_scene(src, tmp_path / "out.tif", count, Settings(window=64, overlap=0))
    assert (report.windows, report.windows_skipped, sum(seen)) == (10, 9, 1)
    dn[:] = 0
    src = write_scene(tmp_path / "in.tif", dn, nodata=0)
    with pytest.warns(NodataWarning, match="no pixel has data"):
        decloud_scene(src, tmp_path / "out.tif", count, Settings(overwrite=True))
    assert sum(seen) == 1
    np.testing.assert_array_equal(read(tmp_path / "out.tif"), dn)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_height(tmp_path):
    """The peak of a scene four times as tall is the same."""
    script = (
        "import sys; from pathlib import Path\n"
        "from geodecloud.restore.heap import use_one_heap\n"
        "use_one_heap()\n"
        "from tests.conftest import peak_memory\n"
        "from tests.conftest import identity\n"
        "from geodecloud.decloud import decloud_scene\n"
        "from geodecloud.settings import Limits, Settings\n"
        "few = Settings(limits=Limits(threads=1, max_memory=600 << 20), force=True)\n"
        "decloud_scene(Path(sys.argv[1]), Path(sys.argv[2]), identity, few)\n"
        "print(peak_memory())\n"
    )
    peaks = []
    for height in (12000, 36000):  # the shorter one fills GDAL's cache too
        src = tmp_path / f"{height}.tif"
        write_scene(src, np.full((3, height, 500), 900, np.uint16), tiled=True, compress="lzw")
        command = [sys.executable, "-c", script, src, tmp_path / f"out{height}.tif"]
        environment = {"PATH": ""}
        done = subprocess.run(
            command,
            env=environment,
            cwd=Path(__file__).parent.parent,
            check=True,
            capture_output=True,
        )
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.1 * peaks[0]


def test_progress_ends_at_the_last_row(tmp_path, scene):
    calls = []
    decloud_scene(scene, tmp_path / "out.tif", identity, progress=lambda *rows: calls.append(rows))
    assert calls[-1] == (100, 100)
    assert calls == sorted(calls)
