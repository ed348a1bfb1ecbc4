"""Cloud masks are scored against labels, by classes that the labels tell apart."""

import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from rasterio.transform import from_origin

from geodecloud.errors import DataError, DataWarning, UsageError
from geodecloud.evaluation import masks
from geodecloud.evaluation.masks import (
    accuracies,
    confusion,
    evaluate_masks,
    masks_table,
    parse_classes,
)
from tests.conftest import noise, write_scene

SIZE = 160


def test_values_of_masks_have_labels():
    assert parse_classes("0=shadow, 1-3=clear,4=cloud") == {0: 3, 1: 0, 2: 0, 3: 0, 4: 4}
    for wrong in ("", "0", "0=fog", "a=clear", "0=clear;1=cloud", "3-1=clear", "1-3=clear,2=thin"):
        with pytest.raises(UsageError, match="like 0=shadow"):
            parse_classes(wrong)


def test_accuracies_are_those_of_a_small_table():
    labels = np.repeat([0, 1, 2, 3], [50, 20, 20, 10]).astype(np.uint8)
    found = labels.copy()
    found[:5] = 1  # clear that is called thick
    found[50:54] = 2  # thick that is called thin
    found[90:94] = 0  # shadow that is missed
    scores = accuracies(confusion(labels, found))
    assert scores["thick"]["users"] == pytest.approx(16 / 21)
    assert scores["thick"]["producers"] == pytest.approx(16 / 20)
    assert scores["thick"]["f1"] == pytest.approx(2 * 16 / 41)
    assert scores["thick"]["balanced"] == pytest.approx((16 / 20 + 75 / 80) / 2)
    assert scores["cloud"]["producers"] == 1
    assert scores["cloud"]["users"] == pytest.approx(40 / 45)
    assert scores["shadow"]["producers"] == pytest.approx(0.6)
    perfect = accuracies(confusion(labels, labels))
    assert all(value == 1 for kind in perfect.values() for value in kind.values())


def test_what_labels_do_not_tell_is_not_scored():
    labels = np.array([0, 0, 4, 4, 255], np.uint8)
    found = np.array([3, 0, 1, 2, 1], np.uint8)
    scores = accuracies(confusion(labels, found))
    assert scores["cloud"] == {"users": 1, "producers": 1, "f1": 1, "balanced": 1}
    assert scores["clear"]["producers"] == 1  # a shadow is clear where shadows are not labelled
    for kind in ("thick", "thin", "shadow"):
        assert math.isnan(scores[kind]["f1"])
    with_shadow = accuracies(
        confusion(np.array([3, 3, 4, 0], np.uint8), np.array([3, 0, 1, 0], np.uint8))
    )
    assert with_shadow["shadow"]["producers"] == 0.5


@pytest.fixture
def folders(tmp_path):
    """Two images with a white cloud in the middle, and their masks."""
    images, labels = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    labels.mkdir()
    for name, ending in (("a", ""), ("b", "_mask")):
        dn = noise((4, SIZE, SIZE)) // 8 + 1000
        dn[:, 40:100, 40:100] = 9000
        truth = np.zeros((1, SIZE, SIZE), np.uint8)
        truth[:, 40:100, 40:100] = 1
        write_scene(images / f"{name}.tif", dn)
        write_scene(labels / f"{name}{ending}.tif", truth)
    return images, labels


def white_is_cloud(patches, dark_object):
    white = (patches[:, :1] > 0.999).astype(np.float32)
    return np.concatenate([patches, white], axis=1)


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setattr(masks, "load_predictor", lambda *_: white_is_cloud)


def test_images_are_scored_against_their_masks(folders, network):
    scores = evaluate_masks(*folders, None)
    assert scores["images"] == 2
    assert scores["rows"]["geodecloud"]["thick"]["f1"] > 0.95
    assert set(scores["each"]) == {"a", "b"}
    assert "thick" in masks_table(scores)
    assert masks_table(scores).startswith("2 images ")
    assert masks_table(scores | {"images": 1}).startswith("1 image ")


def test_another_tool_stands_beside_where_it_is_installed(folders, network, monkeypatch):
    def predict(bands):
        assert bands.shape[0] == 3
        return (bands[:1] > 5000).astype(np.uint8)

    stub = SimpleNamespace(predict_from_array=predict)
    monkeypatch.setitem(sys.modules, "omnicloudmask", stub)
    scores = evaluate_masks(*folders, None)
    assert scores["rows"]["omnicloudmask, no near infrared"]["thick"]["f1"] == 1

    with rasterio.open(folders[0] / "b.tif", "r+") as image:
        image.descriptions = ("red", "green", "blue", "nir")
    scores = evaluate_masks(*folders, None)
    tools = ("omnicloudmask", "omnicloudmask, no near infrared")
    assert [scores["scored"][tool] for tool in tools] == [1, 2]
    assert "omnicloudmask, 1 image" in masks_table(scores)

    def no_weights(bands):
        raise OSError("no network")

    stub.predict_from_array = no_weights
    with pytest.warns(DataWarning, match="no weights here"):
        assert set(evaluate_masks(*folders, None)["rows"]) == {"geodecloud"}


def test_masks_that_are_missing_or_of_another_size_are_one_line(folders, network):
    (folders[1] / "b_mask.tif").unlink()
    with pytest.raises(DataError, match="no mask for b"):
        evaluate_masks(*folders, None)
    write_scene(folders[1] / "b.tif", np.zeros((1, 20, 20), np.uint8))
    with pytest.raises(DataError, match="another size"):
        evaluate_masks(*folders, None)
    with pytest.raises(DataError, match="no such folder"):
        evaluate_masks(folders[0], folders[1] / "none", None)
    (folders[0] / "a.tif").rename(folders[0] / "b.tiff")
    with pytest.raises(DataError, match=r"b\.tiff: b\.tif has the same stem"):
        evaluate_masks(*folders, None)


def test_masks_of_another_place_are_one_line_before_any_image_is_masked(
    folders, network, monkeypatch
):
    monkeypatch.setattr(masks, "mask_scene", None)  # not called
    truth = np.zeros((1, SIZE, SIZE), np.uint8)
    for placed in (
        {"transform": from_origin(500006, 5500000, 10, 10)},
        {"transform": Affine(10, 0, 500000, 0, 10, 5500000 - 10 * SIZE)},  # south up
        {"crs": "EPSG:32632"},
    ):
        path = write_scene(folders[1] / "b_mask.tif", truth, **placed)
        with pytest.raises(DataError, match=rf"^{path}: not on the grid of .*b\.tif; warp one"):
            evaluate_masks(*folders, None)


def test_a_mask_without_a_place_is_taken_to_lie_on_its_image(folders, network):
    expected = evaluate_masks(*folders, None)
    for path in folders[1].iterdir():
        with rasterio.open(path) as file:
            truth = file.read(1)
        Image.fromarray(truth).save(path.with_suffix(".png"))
        path.unlink()
    assert evaluate_masks(*folders, None) == expected


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 99), ("float32", math.nan)])
def test_declared_nodata_of_a_mask_is_not_scored(folders, network, dtype, nodata):
    truth = np.zeros((1, SIZE, SIZE), dtype)
    truth[:, 40:100, 40:100] = 1
    truth[:, :, 50:] = 255
    for name in ("a.tif", "b_mask.tif"):
        write_scene(folders[1] / name, truth)
    expected = evaluate_masks(*folders, None)
    for name in ("a.tif", "b_mask.tif"):
        write_scene(folders[1] / name, np.where(truth == 255, nodata, truth), nodata=nodata)
    assert evaluate_masks(*folders, None) == expected


def test_a_class_that_is_declared_nodata_is_scored_if_classes_name_it(folders, network):
    expected = evaluate_masks(*folders, None)
    for path in folders[1].iterdir():
        with rasterio.open(path, "r+") as file:
            file.nodata = 0
    with pytest.warns(DataWarning, match=r"tif: declares 0, a class, as nodata.*`classes`"):
        found = evaluate_masks(*folders, None)
    assert math.isnan(found["rows"]["geodecloud"]["clear"]["f1"])
    assert evaluate_masks(*folders, None, "0=clear,1=thick") == expected


def test_values_that_no_class_has_are_not_passed_over(folders, network):
    for clear, cloud in ((0, 12), (0, 254), (4, 9)):
        truth = np.full((1, SIZE, SIZE), clear, np.uint8)
        truth[:, 40:100, 40:100] = cloud
        for name in ("a.tif", "b_mask.tif"):
            write_scene(folders[1] / name, truth)
        unknown = clear or cloud
        with pytest.raises(DataError, match=f"value {unknown}, which is no .*; give `classes`"):
            evaluate_masks(*folders, None)
    scores = evaluate_masks(*folders, None, "4=clear,9=thick")
    assert scores["rows"]["geodecloud"]["thick"]["f1"] > 0.95


def test_masks_of_which_nothing_is_scored_are_refused(folders, network):
    for path in folders[1].iterdir():
        path.rename(path.with_name(f"{path.name[0]}_SCL.tif"))  # 0 and 1 are no classes of land
    with pytest.raises(DataError, match=r"masks: no pixel .* is scored; give `classes`"):
        evaluate_masks(*folders, None)


def test_the_command_scores_masks(cli, folders, tiny_model):
    done = cli("evaluate", "--masks", *folders, "--model", tiny_model, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["images"] == 2
    for args, words in (
        (("--masks", folders[0]), "MASK_DIR is missing"),
        ((*folders, "--classes", "0=clear"), "--classes works only with --masks"),
        (("--masks", *folders, "--png", "x"), "--png works only with"),
    ):
        done = cli("evaluate", *args)
        assert (done.code, words in done.err) == (2, True), done.err
