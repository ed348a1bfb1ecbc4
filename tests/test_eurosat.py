"""Laws of EuroSAT in all the forms that people have it in."""

import hashlib
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from geodecloud.data.eurosat import find_eurosat, load_eurosat
from geodecloud.data.tiles import join
from geodecloud.errors import DataError, DataWarning, UsageError
from geodecloud.radiometry import eurosat_to_model, multispectral_to_eurosat
from tests.conftest import noise, write_scene

CLASSES = ("Forest", "River")


def jpeg(path, seed=0, size=(64, 64)):
    """A tile of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise((*size, 3), "uint8", seed)).save(path, "JPEG", quality=100)


def eurosat(folder, count=10):
    """A small EuroSAT of two classes."""
    for name in CLASSES:
        for i in range(count):
            jpeg(folder / name / f"{name}_{i}.jpg", i)
    return folder


def multispectral(folder, count=10):
    """The same as 13 bands, whatever they show."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            write_scene(folder / name / f"{name}_{i}.tif", noise((13, 64, 64), seed=i))
    return folder


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder.parent))
    return path


def stems(tiles):
    return [name.rpartition(".")[0] for name in tiles.names]


@pytest.mark.parametrize("name", ["EuroSAT", "2750", "EuroSAT_RGB", "EuroSAT/2750"])
def test_a_root_may_be_the_folder_or_one_above_or_a_zip_or_a_folder_with_one(tmp_path, name):
    root = eurosat(tmp_path / "data" / name)
    expected = load_eurosat(root)
    assert len(expected) == 14
    (tmp_path / "zips").mkdir()
    archive = zipped(tmp_path / "data", tmp_path / "zips" / "any.zip")
    for other in (root.parent, tmp_path / "data", archive, archive.parent):
        found = load_eurosat(other)
        assert found.names == expected.names
        np.testing.assert_array_equal(found.pixels, expected.pixels)
    one_class = load_eurosat(root / "Forest")
    assert {name.split("/")[0] for name in one_class.names} == {"Forest"}


def test_what_is_no_tile_is_left_alone(tmp_path):
    root = eurosat(tmp_path / "EuroSAT")
    expected = load_eurosat(root).names
    jpeg(tmp_path / "made" / "all_inputs" / "1.jpg")
    jpeg(tmp_path / "made" / "all_targets" / "1.jpg")
    jpeg(tmp_path / "photo.jpg", size=(20, 30))
    for name in ("__MACOSX/Forest/._Forest_1.jpg", "Forest/._Forest_1.jpg", ".cache/Forest_1.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"fork")
    (tmp_path / "scenes").mkdir()
    write_scene(tmp_path / "scenes" / "a.tif", noise((3, 70, 70)))
    assert load_eurosat(tmp_path).names == expected
    assert load_eurosat(zipped(tmp_path / "EuroSAT", tmp_path / "e.zip")).names == expected


def test_folders_of_any_name_serve_but_never_cloudy_ones(tmp_path):
    for i in range(4):
        jpeg(tmp_path / "all_inputs" / f"{i}.jpg", i)
        jpeg(tmp_path / "all_targets" / f"{i}.JPEG", i)
    assert {file.land_cover for file in find_eurosat(tmp_path).files} == {"all_targets"}


def test_links_in_a_circle_end(tmp_path):
    root = eurosat(tmp_path / "far" / "EuroSAT", 3)
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "EuroSAT").symlink_to(root)
    (root / "again").symlink_to(root)
    assert len(find_eurosat(tmp_path / "near").files) == 6


def test_the_split_is_of_tiles_not_of_files_or_classes(tmp_path):
    root = eurosat(tmp_path / "rgb")
    training, held_out = load_eurosat(root), load_eurosat(root, held_out=True)
    assert not set(training.names) & set(held_out.names)
    assert sorted(training.names + held_out.names) == [f.name for f in find_eurosat(root).files]
    ms = multispectral(tmp_path / "ms")
    assert stems(load_eurosat(ms)) == stems(training)
    assert load_eurosat(tmp_path).names == training.names  # each tile once, as JPEG
    for name in CLASSES:
        of_class = load_eurosat(root, classes=[name])
        assert of_class.names == tuple(n for n in training.names if n.startswith(name))
    assert load_eurosat(root, classes=CLASSES).names == training.names
    assert len(load_eurosat(root, classes=["River"], limit=3)) == 3


def test_a_part_of_eurosat_is_split_as_the_whole(tmp_path, shared):
    whole = find_eurosat(shared / "EuroSAT_RGB.zip")
    held_out = {(f.land_cover, f.stem) for f in whole.part(held_out=True)}
    few = find_eurosat(shared / "eurosat_ms100")
    for part in (False, True):
        stems_of_part = {(f.land_cover, f.stem) for f in few.part(held_out=part)}
        assert stems_of_part
        assert (stems_of_part <= held_out) if part else not (stems_of_part & held_out)
    other = {(f.land_cover, f.stem) for f in whole.part(held_out=True, seed=1)}
    assert len(other) == len(held_out)
    assert other != held_out


def test_another_file_does_not_move_a_published_tile_to_the_other_part(tmp_path):
    root = eurosat(tmp_path)
    (root / "Forest" / "Forest_0.jpg").unlink()  # EuroSAT begins at 1
    (root / "River" / "River_0.jpg").unlink()

    def parts():
        source = find_eurosat(root)
        return [{f.name for f in source.part(held_out=part)} for part in (False, True)]

    before = parts()
    others = [f"Forest/Forest_1 ({number}).jpg" for number in range(10)]
    for name in others:
        jpeg(root / name)
    after = parts()
    assert [names - set(others) for names in after] == before
    assert [len(names & set(others)) for names in after] == [7, 3]


def test_multispectral_tiles_may_lie_in_folders_of_any_case(tmp_path):
    root = multispectral(tmp_path / "ms")
    for folder in list(root.iterdir()):
        folder.rename(folder.with_name(folder.name.lower()))
    assert len(find_eurosat(root).files) == 20


def test_the_split_of_eurosat_is_pinned(shared):
    source = find_eurosat(shared / "EuroSAT_RGB.zip")
    digests = [
        hashlib.sha256(
            "\n".join(sorted(f.name for f in source.part(held_out=held_out))).encode()
        ).hexdigest()[:16]
        for held_out in (False, True)
    ]
    assert digests == ["1adfe127a469e031", "fdcfe33d2ae724a4"]
    tiles = load_eurosat(shared / "EuroSAT_RGB.zip", limit=50)
    assert tiles.digest()[:16] == "eadbbb4323d35b0d"


def test_the_published_radiometry_is_exact(shared):
    """EuroSAT's JPEGs bit for bit from its multispectral tiles."""
    root = shared / "eurosat_ms100"
    tiles = join(load_eurosat(root), load_eurosat(root, held_out=True))
    assert len(tiles) == 100
    ours = dict(zip(tiles.names, tiles.pixels, strict=True))
    with zipfile.ZipFile(shared / "EuroSAT_RGB.zip") as archive:
        for name, pixels in ours.items():
            data = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(
                data, "JPEG", quality=100, optimize=True, subsampling=2
            )
            published = archive.read(f"EuroSAT_RGB/{name.replace('.tif', '.jpg')}")
            np.testing.assert_array_equal(
                np.asarray(Image.open(data)), np.asarray(Image.open(io.BytesIO(published)))
            )


def test_the_radiometry_is_the_model_range_rounded():
    dn = np.arange(0, 4000, dtype=np.uint16)
    model = eurosat_to_model(multispectral_to_eurosat(dn))
    assert abs(model - np.clip(dn / 2750, 0, 1)).max() <= 0.5 / 254 + 1e-6
    assert multispectral_to_eurosat(np.array([65535, 0])).tolist() == [255, 1]


def test_an_unknown_class_names_the_nearest(tmp_path):
    root = eurosat(tmp_path, 2)
    with pytest.raises(DataError, match=r"'forest'; did you mean 'Forest'.*Forest, River"):
        load_eurosat(root, classes=["River", "forest"])
    with pytest.raises(UsageError, match="`limit` is 0"):
        load_eurosat(root, limit=0)
    with pytest.raises(UsageError, match="`on_bad` is 'ignore'"):
        load_eurosat(root, on_bad="ignore")


def damage(kind, folder):
    """Spoil ``Forest_0``; returns its path."""
    path = folder / "Forest" / "Forest_0.jpg"
    if kind == "size":
        jpeg(path, size=(32, 64))
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    elif kind == "zeros":  # as a broken download leaves it; decoders make grey of them
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2].ljust(len(data), b"\0"))
    elif kind == "short":
        path.write_bytes(path.read_bytes()[:1500] + b"\xff\xd9" + path.read_bytes()[1502:])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "empty tif":
        path.unlink()
        path = path.with_suffix(".tif")
        path.write_bytes(b"")
    elif kind == "grey":
        Image.new("L", (64, 64)).save(path)
    elif kind == "png":
        Image.new("RGB", (64, 64)).save(path, "PNG")
    elif kind == "bands":
        path.unlink()
        path = path.with_suffix(".tif")
        write_scene(path, noise((3, 64, 64)))
    elif kind == "broken tif":
        path.unlink()
        path = path.with_suffix(".tif")
        path.write_bytes(b"II*\0broken")
    return path


KINDS = {
    "size": "64x32 pixels, not 64x64",
    "cut": "damaged picture",
    "zeros": "damaged picture",
    "short": "damaged picture",
    "empty tif": "damaged GeoTIFF",
    "empty": "damaged picture",
    "grey": "its mode is L, not RGB",
    "png": "damaged picture",
    "bands": "3 bands of uint16, not EuroSAT's 13",
    "broken tif": "damaged GeoTIFF",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_tile_is_named_or_left_out_and_counted(tmp_path, kind):
    root = eurosat(tmp_path / "e")
    path = damage(kind, root)
    held_out = path.stem in "".join(f.name for f in find_eurosat(root).part(held_out=True))
    with pytest.raises(DataError, match=rf"{path.name}: {KINDS[kind]}"):
        load_eurosat(root, held_out=held_out)
    with pytest.warns(DataWarning, match=r"1 bad file left out, first .*Forest_0") as seen:
        tiles = load_eurosat(root, held_out=held_out, on_bad="skip")
    assert tiles.skipped == (str(path),)
    assert str(seen[0].message).endswith(f"first {path}")
    assert len(tiles) == len(tiles.pixels) == (6 if held_out else 14) - 1
    assert all("Forest_0." not in name for name in tiles.names)
    assert not load_eurosat(root, held_out=not held_out).skipped
    assert join(tiles, tiles).skipped == tiles.skipped * 2


def test_a_damaged_zip_is_named(tmp_path):
    path = zipped(eurosat(tmp_path / "e", 2), tmp_path / "e.zip")
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        first = archive.infolist()[0]
    data[first.header_offset + 300] ^= 255
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"Forest_0.jpg: cannot be read .*CRC"):
        load_eurosat(path), load_eurosat(path, held_out=True)
    path.write_bytes(data[:3000])
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        load_eurosat(path)


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        load_eurosat(tmp_path / "none")
    with pytest.raises(DataError, match="download-eurosat"):
        load_eurosat(tmp_path)
    for name in ("a.zip", "b.zip"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"holds a.zip, b.zip; name one"):
        load_eurosat(tmp_path)
    root = eurosat(tmp_path / "e", 1)
    for name in CLASSES:
        (root / name / f"{name}_0.jpg").write_bytes(b"")
    with (
        pytest.warns(DataWarning, match="1 bad"),
        pytest.raises(DataError, match="no good tile"),
    ):
        load_eurosat(root, on_bad="skip")
