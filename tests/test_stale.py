"""Outputs of an earlier run never stand untrue beside a new picture."""

import pytest

from geodecloud.data.simulate import Simulation, simulate_scene
from geodecloud.decloud import decloud_scene
from geodecloud.errors import OutputError, OutputWarning, SceneError
from geodecloud.settings import Reading, Settings
from tests.conftest import identity, noise, write_scene


def _beside(folder, out="out.tif", **options):
    settings = Settings(**options)
    src = folder / "in.tif"
    if not src.exists():
        write_scene(src, noise((3, 60, 70)))
    decloud_scene(src, folder / out, identity, settings)
    return {path.name for path in folder.iterdir()} - {"in.tif"}


def _all_beside(folder):
    names = {name: folder / f"out_{name}.tif" for name in ("provenance", "opacity")}
    assert len(_beside(folder, **names, stac=True)) == 7


def test_what_no_longer_fits_a_new_picture_is_removed(tmp_path):
    _all_beside(tmp_path)
    with pytest.warns(OutputWarning) as warned:
        assert _beside(tmp_path, overwrite=True) == {"out.tif"}
    said = [str(one.message) for one in warned if "is removed" in str(one.message)]
    assert len(said) == 3


def test_what_the_run_itself_writes_or_reads_stays(tmp_path):
    _all_beside(tmp_path)
    provenance, mask = tmp_path / "out_provenance.tif", tmp_path / "out_opacity.tif"
    with pytest.warns(OutputWarning, match=r"out\.json: is removed"):
        left = _beside(tmp_path, overwrite=True, provenance=provenance, mask=mask, opaque="keep")
    assert left >= {"out_provenance.tif", "out_opacity.tif"}


def test_a_new_picture_is_not_put_beside_anothers_provenance(tmp_path):
    _all_beside(tmp_path)
    (tmp_path / "out.tif").unlink()
    with pytest.raises(OutputError, match=r"out_provenance\.tif: .*give `overwrite` to remove it"):
        _beside(tmp_path)
    assert not (tmp_path / "out.tif").exists()


def test_a_failed_run_removes_nothing(tmp_path):
    _all_beside(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def broken(patches, _):
        raise SceneError("broken")

    with pytest.raises(SceneError, match="broken"):
        decloud_scene(tmp_path / "in.tif", tmp_path / "out.tif", broken, Settings(overwrite=True))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_files_of_others_beside_a_picture_stay(tmp_path):
    """A raster of the user's, the opacity of a simulation, any JSON."""
    _beside(tmp_path)
    write_scene(tmp_path / "out_provenance.tif", noise((1, 60, 70), "uint8"))
    clouds = Simulation("haze", seed=1, reading=Reading(bands=(1, 2, 3), scale=10000, offset=0))
    simulate_scene(tmp_path / "in.tif", tmp_path / "s.tif", tmp_path / "out_opacity.tif", clouds)
    (tmp_path / "out.json").write_text('{"properties": 1}')
    before = {path.name for path in tmp_path.iterdir()} - {"in.tif"}
    assert _beside(tmp_path, overwrite=True) == before


@pytest.mark.parametrize("name", ["out_mask.tif", "out_cloud_mask.tiff"])
def test_a_cloud_mask_is_removed_with_the_picture_that_it_fits(tmp_path, name):
    mask = tmp_path / name
    _beside(tmp_path, cloud_mask=mask)
    (tmp_path / "out.tif").unlink()
    assert name in _beside(tmp_path)  # a mask may be made before its scene is restored
    with pytest.warns(OutputWarning, match=f"{name}: is removed"):
        assert _beside(tmp_path, overwrite=True) == {"out.tif"}
    _beside(tmp_path, cloud_mask=mask, overwrite=True)
    assert name in _beside(tmp_path, overwrite=True, mask=mask, opaque="keep")


def test_masks_of_a_batch_and_other_programs_stay(tmp_path):
    mask_of_batch, own = tmp_path / "in_mask.tif", tmp_path / "in_clear_mask.tif"
    _beside(tmp_path, "in_clear.tif", cloud_mask=mask_of_batch)
    write_scene(own, noise((1, 60, 70), "uint8"))
    left = _beside(tmp_path, "in_clear.tif", overwrite=True)
    assert {mask_of_batch.name, own.name} <= left


def test_the_names_that_a_batch_gives_are_known(tmp_path):
    names = {"provenance": tmp_path / "in_provenance.tif"}
    _beside(tmp_path, "in_clear.tif", **names)
    with pytest.warns(OutputWarning, match=r"in_provenance\.tif: is removed"):
        assert _beside(tmp_path, "in_clear.tif", overwrite=True) == {"in_clear.tif"}
    _beside(tmp_path, "other.tif", **names)
    _beside(tmp_path, "in_clear2.tif")
    assert names["provenance"].exists()
