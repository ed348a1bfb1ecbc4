"""Laws of the tiles that are cut from clear scenes."""

import numpy as np
import pytest
from rasterio.transform import from_origin

from geodecloud.data.scene_tiles import tiles_from_scenes
from geodecloud.errors import DataError, DataWarning, GeodecloudError
from tests.conftest import noise, write_scene


def scene_with(folder, name, seed=0, **profile):
    """A scene of two by two tiles."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_scene(folder / name, noise((3, 130, 140), seed=seed), **profile)


def mask(path, at, value, size=(130, 140), shrink=1):
    """A mask that is 0 but for one pixel, in a grid that is coarser by ``shrink``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full((1, size[0] // shrink, size[1] // shrink), 4 if "SCL" in path.name else 0)
    values[0, at[0] // shrink, at[1] // shrink] = value
    pixel = 10 * shrink
    transform = from_origin(500000, 5500000, pixel, pixel)
    return write_scene(path, values.astype(np.uint8), transform=transform)


ALL = ["@0,0", "@0,64", "@64,0", "@64,64"]


def places(tiles):
    return [name[name.index("@") :] for name in tiles.names]


def test_scenes_lie_in_folders_and_end_in_tif_or_tiff(tmp_path):
    scene_with(tmp_path / "s", "b.TIF")
    scene_with(tmp_path / "s" / "deep", "a.tiff")
    (tmp_path / "s" / "notes.txt").write_text("no scene")
    scene_with(tmp_path / "s", "._b.tif")
    tiles = tiles_from_scenes(tmp_path / "s")
    assert tiles.names == tuple(f"{n}{at}" for n in ("b.TIF", "deep/a.tiff") for at in ALL)


def test_undeclared_zeros_are_nodata(tmp_path):
    dn = noise((3, 130, 140))
    dn[:, 70, 70] = 0
    dn[1, 10, 10] = 0  # one band alone may be 0
    write_scene(tmp_path / "a.tif", dn)
    assert places(tiles_from_scenes(tmp_path)) == ALL[:3]


@pytest.mark.parametrize(
    "name",
    [
        *("area_x_SCL.tif", "area_x_mask.tif", "area_x_cloud_mask.tiff", "area_x.mask.TIF"),
        *("area_x_mask.png", "masks/area_x_SCL.png"),
        *("area_SCL_20m.tif", "area_cloudmask.tif", "SCL.tif", "mask.tif"),
        *("aux/area_x_SCL.tif", "masks/area_mask.tif"),
    ],
)
@pytest.mark.parametrize("shrink", [1, 2])
def test_a_tile_under_a_mask_is_left_out(tmp_path, name, shrink):
    scene_with(tmp_path, "area_x.tif")
    mask(tmp_path / name, (64, 127), 9, shrink=shrink)
    assert places(tiles_from_scenes(tmp_path)) == ALL[:3]


@pytest.mark.parametrize("value", range(12))
def test_scene_classes_that_hide_the_ground(tmp_path, value):
    scene_with(tmp_path, "a.tif")
    mask(tmp_path / "a_SCL.tif", (0, 0), value)
    assert ("@0,0" not in places(tiles_from_scenes(tmp_path))) == (value in {0, 1, 3, 8, 9, 10})


def test_a_mask_is_of_its_own_scene_alone(tmp_path):
    for name in ("a.tif", "a_2.tif", "ab.tif", "other.tif"):
        scene_with(tmp_path, name)
    scene_with(tmp_path / "below", "a.tif")
    mask(tmp_path / "a_mask.tif", (0, 0), 1)
    names = tiles_from_scenes(tmp_path).names
    assert "a.tif@0,0" not in names
    assert len(names) == 5 * 4 - 1


def test_a_finer_mask_hides_by_any_of_its_pixels(tmp_path):
    scene_with(tmp_path, "a.tif")
    values = np.zeros((1, 390, 420), np.uint8)
    values[0, 191, 0] = 1  # of scene row 63: nearest resampling would miss it
    transform = from_origin(500000, 5500000, 10 / 3, 10 / 3)
    write_scene(tmp_path / "a_mask.tif", values, transform=transform)
    assert places(tiles_from_scenes(tmp_path)) == ALL[1:]


@pytest.mark.parametrize("on", ["a map", "nowhere"])
def test_a_mask_of_another_area_is_refused(tmp_path, on):
    crs = "EPSG:32633" if on == "a map" else None
    scene_with(tmp_path, "a.tif", crs=crs)
    scene_with(tmp_path, "b.tif", crs=crs)
    write_scene(tmp_path / "a_mask.tif", np.zeros((1, 100, 140), np.uint8), crs=crs)
    with pytest.raises(DataError, match=r"a_mask.tif: covers another area than .*a.tif"):
        tiles_from_scenes(tmp_path)
    with pytest.warns(DataWarning, match=r"1 bad file left out, first a\.tif"):
        tiles = tiles_from_scenes(tmp_path, on_bad="skip")
    assert tiles.skipped == ("a.tif",)
    assert len(tiles) == 4


def test_a_bad_scene_is_named_or_left_out_whole(tmp_path):
    good = scene_with(tmp_path, "b.tif")
    (tmp_path / "a.tif").write_bytes(good.read_bytes()[:60000])  # its last rows are missing
    with pytest.raises(GeodecloudError, match=r"a.tif"):
        tiles_from_scenes(tmp_path)
    with pytest.warns(DataWarning, match=r"1 bad file left out, first a\.tif"):
        tiles = tiles_from_scenes(tmp_path, on_bad="skip")
    assert tiles.skipped == ("a.tif",)
    assert len(tiles) == 4
    (tmp_path / "b_mask.tif").write_bytes(b"II*\0broken")
    with (
        pytest.warns(DataWarning, match="2 bad"),
        pytest.raises(DataError, match="no tile of 64x64"),
    ):
        tiles_from_scenes(tmp_path, on_bad="skip")
    with pytest.raises(DataError, match="no such folder"):
        tiles_from_scenes(tmp_path / "none")


def test_real_scenes_lose_what_their_classification_hides(shared):
    with pytest.warns(DataWarning) as seen:
        tiles = tiles_from_scenes(shared / "scenes", on_bad="skip")
    assert any("no tile of 64x64 clear pixels" in str(one.message) for one in seen)
    assert all("one_band" in name for name in tiles.skipped)  # it is no scene of three colours
    counts = dict.fromkeys(("20210410", "20221005", "T18"), 0)
    for name in tiles.names:
        for key in counts:
            counts[key] += key in name
    assert counts["T18"] == 900  # it has no mask
    assert 0 < counts["20210410"] < 28 * 28
    assert 0 < counts["20221005"] < 2 * 28 * 28 * 0.6  # two files; 40 % are nodata
