"""The two networks, their files, and the predictor."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import rasterio
import torch

from benchmarks.finish import copy_with_strength, save_mean
from geodecloud.errors import ModelError, UsageError
from geodecloud.model.checkpoint import load_generator, save_generator
from geodecloud.model.config import DiscriminatorPlan, GeneratorPlan
from geodecloud.model.model_file import read_info
from geodecloud.model.predictor import Predictor
from geodecloud.model.resnet import ResNet
from geodecloud.model.unet import UNet, with_dark_object, with_dark_object_input
from geodecloud.radiometry import L1C_DARK_OBJECT
from geodecloud.settings import Policy
from geodecloud.training.config import load_config
from tests.conftest import ROOT, SAMPLES

DARK = np.array(L1C_DARK_OBJECT, np.float32)
ARTICLE = load_config(ROOT / "configs" / "article.toml").generator


def test_the_articles_parameter_counts():
    count = lambda network: sum(p.numel() for p in network.parameters())  # noqa: E731
    assert round(count(UNet(ARTICLE)) / 1e6, 2) == 7.77
    assert round(count(ResNet()) / 1e6, 2) == 5.04


def test_shapes_and_the_residual():
    generator = UNet(GeneratorPlan(width=4)).eval()
    x = torch.rand(2, 3, 48, 32)
    model_input = with_dark_object(x, torch.rand(2, 3))
    assert generator(model_input).shape == (2, 4, 48, 32)
    assert UNet(replace(ARTICLE, width=4))(x).shape == (2, 3, 48, 32)
    assert ResNet()(torch.rand(2, 3, 64, 64)).shape == (2,)
    torch.nn.init.zeros_(generator.head.weight)
    torch.nn.init.zeros_(generator.head.bias)
    torch.testing.assert_close(generator(model_input)[:, :3], x)


def test_a_generator_gets_the_dark_object_as_input_and_ignores_it_at_first(tmp_path):
    torch.manual_seed(1)
    plain = UNet(GeneratorPlan(width=8, dark_object=False)).eval()
    wider = with_dark_object_input(plain).eval()
    assert wider.plan == GeneratorPlan(width=8)
    tiles, dark = torch.rand(5, 3, 64, 64), torch.rand(5, 3)
    with torch.inference_mode():
        torch.testing.assert_close(wider(with_dark_object(tiles, dark)), plain(tiles))
        torch.nn.init.normal_(wider.encoder[0].layers[0].weight)
        one, other = (wider(with_dark_object(tiles, value)) for value in (dark, 1 - dark))
    assert (one - other).abs().max() > 0.01
    save_generator(wider.half().float(), tmp_path / "m.safetensors", {})
    predictor = Predictor(tmp_path / "m.safetensors", "cpu", "fp32")
    for_each = predictor(tiles.numpy(), dark.numpy())
    np.testing.assert_allclose(for_each, one.numpy(), atol=1e-2)
    for i in range(5):  # one scene, and five scenes of a patch each
        alone = predictor(tiles[i : i + 1].numpy(), dark[i].numpy())
        np.testing.assert_array_equal(alone[0], for_each[i])


def test_a_saved_model_predicts_what_the_network_did(tmp_path):
    torch.manual_seed(1)
    generator = UNet(GeneratorPlan(width=8, dark_object=False))
    generator(torch.rand(8, 3, 64, 64))  # moves the statistics of BatchNorm
    generator.half().float().eval()
    save_generator(generator, tmp_path / "m.safetensors", {"steps": 3})
    again, info = load_generator(tmp_path / "m.safetensors")
    assert info.metadata["steps"] == 3
    patches = torch.rand(19, 3, 64, 64)
    with torch.inference_mode():
        expected = generator(patches)
        torch.testing.assert_close(again(patches), expected)
    predicted = Predictor(tmp_path / "m.safetensors", "cpu", "fp32")(patches.numpy(), DARK)
    np.testing.assert_allclose(predicted, expected.numpy(), atol=1e-4)
    assert read_info(tmp_path / "m.safetensors") == info


LATER = ("dark_object", "widths")  # keys that earlier model files have not


@pytest.mark.parametrize(("old", "dark_object"), [({"darkest": True}, True), ({}, False)])
def test_model_files_of_earlier_versions_are_read(tmp_path, old, dark_object):
    """Later ones called the dark object ``darkest``; the first had none, and one width."""
    plan = GeneratorPlan(width=4, dark_object=dark_object)
    table = {name: value for name, value in asdict(plan).items() if name not in LATER} | old
    save_generator(UNet(plan), tmp_path / "m.safetensors", {"generator": table})
    generator, info = load_generator(tmp_path / "m.safetensors")
    assert info.metadata["generator"] == table
    assert generator.plan == info.plan == plan


def test_strength_multiplies_the_change_of_each_band(tiny_model, tmp_path):
    copy_with_strength(tiny_model, (1.25, 1.1, 0.9), tmp_path / "stronger.safetensors")
    patches = np.random.default_rng(0).random((3, 3, 64, 64), np.float32)
    plain = Predictor(tiny_model, "cpu", "fp32")(patches, DARK)
    predictor = Predictor(tmp_path / "stronger.safetensors", "cpu", "fp32")
    stronger, factors = predictor(patches, DARK), predictor._strength(plain[:, 3:])
    np.testing.assert_allclose(
        stronger[:, :3] - patches, factors * (plain[:, :3] - patches), atol=1e-6
    )
    np.testing.assert_array_equal(stronger[:, 3], plain[:, 3])


def test_strength_counts_under_certain_cloud_through_which_ground_is_seen(tiny_model, tmp_path):
    copy_with_strength(tiny_model, (1.25, 1.1, 0.9), tmp_path / "stronger.safetensors")
    opacity = np.linspace(0, 1, 101, dtype=np.float32)
    predictor = Predictor(tmp_path / "stronger.safetensors", "cpu", "fp32")
    factors = predictor._strength(opacity.reshape(1, 1, 1, -1))[0, :, 0]
    assert (factors[:, (opacity <= 0.1) | (opacity >= 0.8)] == 1).all()
    whole = factors[:, (opacity >= 0.24) & (opacity <= 0.5)]
    np.testing.assert_allclose(whole, np.tile([[1.25], [1.1], [0.9]], whole.shape[1]), rtol=1e-6)
    assert (np.diff(factors[0, opacity < 0.5]) >= 0).all()
    assert (np.diff(factors[0, opacity > 0.5]) <= 0).all()


@pytest.mark.parametrize(
    "strength", [0, -1, 3, float("nan"), "much", None, [1, 1], [1, 1, 3], [1, 1, "much"]]
)
def test_a_strength_that_makes_no_sense_is_refused(tiny_model, tmp_path, strength):
    copy_with_strength(tiny_model, strength, tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="not a model of geodecloud"):
        read_info(tmp_path / "m.safetensors")


def test_the_mean_of_models_is_the_mean_of_their_weights(tmp_path):
    paths = []
    for step in (1, 2, 3):
        paths.append(tmp_path / f"{step}.safetensors")
        save_generator(UNet(GeneratorPlan(width=4)), paths[-1], {"steps": step})
    save_mean(paths, tmp_path / "mean.safetensors")
    mean, info = load_generator(tmp_path / "mean.safetensors")
    assert info.metadata["mean_of_steps"] == [1, 2, 3]
    weights = [load_generator(path)[0].head.weight for path in paths]
    torch.testing.assert_close(mean.head.weight, sum(weights) / 3, atol=1e-3, rtol=1e-3)
    save_generator(UNet(GeneratorPlan(width=2)), tmp_path / "thin.safetensors", {})
    with pytest.raises(ModelError, match=r"1\.safetensors: architecture differs"):
        save_mean([paths[0], tmp_path / "thin.safetensors"], tmp_path / "mean.safetensors")


def test_a_prediction_does_not_depend_on_how_many_are_asked_for(tiny_model):
    predictor = Predictor(tiny_model, "cpu", "fp32")
    patches = np.random.default_rng(0).random((37, 3, 64, 64), np.float32)
    whole = predictor(patches, DARK)
    np.testing.assert_array_equal(predictor(patches[:1], DARK), whole[:1])
    np.testing.assert_array_equal(predictor(patches[16:20], DARK), whole[16:20])


def test_deeper_networks_are_a_configuration(tmp_path):
    plan = GeneratorPlan(width=2, depth=5, upsample="transposed")
    save_generator(UNet(plan), tmp_path / "deep.safetensors", {})
    again, info = load_generator(tmp_path / "deep.safetensors")
    assert info.plan == again.plan == plan
    assert again(torch.rand(1, 6, 64, 64)).shape == (1, 4, 64, 64)
    predictor = Predictor(tmp_path / "deep.safetensors", "cpu", "fp32")
    with pytest.raises(UsageError, match="`window` is 48: this model needs a multiple of 32"):
        predictor(np.zeros((1, 3, 48, 48), np.float32), DARK)
    deeper = ResNet(DiscriminatorPlan((1, 1, 2, 1, 1), (8, 8, 16, 16, 16)))
    assert deeper(torch.rand(2, 3, 64, 64)).shape == (2,)


def test_upsampling_leaves_no_checkerboard():
    """Of an even picture the default's upsampling makes an even picture."""
    up = UNet(GeneratorPlan(width=4)).up[0]
    out = up(torch.rand(1, 64, 1, 1).expand(-1, -1, 6, 6))
    torch.testing.assert_close(out, out[:, :, :1, :1].expand_as(out))


def test_a_model_without_opacity_restores_everything(tmp_path):
    save_generator(UNet(replace(ARTICLE, width=4)), tmp_path / "m.safetensors", {})
    output = Predictor(tmp_path / "m.safetensors", "cpu", "fp32")(
        np.zeros((3, 3, 64, 64), "f4"), DARK
    )
    assert output.shape == (3, 4, 64, 64)
    policy = Policy()
    assert (output[:, 3] >= policy.restored_above).all()
    assert (output[:, 3] < policy.opaque_above).all()


def test_a_scene_is_restored_by_a_model_without_opacity(cli, tmp_path):
    save_generator(UNet(replace(ARTICLE, width=4)), tmp_path / "m.safetensors", {})
    src, dst, codes = SAMPLES / "s2_cloudy.tif", tmp_path / "out.tif", tmp_path / "codes.tif"
    done = cli(src, dst, "--model", tmp_path / "m.safetensors", "--provenance", codes)
    assert done.code == 0, done.err
    with rasterio.open(codes) as file:
        assert set(np.unique(file.read(1))) <= {100, 255}
