"""Laws of training: noise and clouds, data, networks, and a run that can be cut in two."""

import dataclasses
import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from geodecloud.checkpoint import load_generator, read_info, save_generator
from geodecloud.config import CloudMix, Config, Training, load_config
from geodecloud.errors import ConfigError, DataError, GeodecloudError
from geodecloud.models.discriminator import ResNet
from geodecloud.models.generator import UNet
from geodecloud.predictor import Predictor
from geodecloud.training import clouds
from geodecloud.training.clouds import apparent_opacity, draw_clouds, draw_uniforms, simulate_clouds
from geodecloud.training.dataset import (
    Tiles,
    augment,
    batches,
    load_eurosat,
    tiles_from_scenes,
)
from geodecloud.training.loop import Run, train, train_step
from geodecloud.training.losses import restoration_loss
from geodecloud.training.perlin import fractal_perlin
from tests.conftest import ROOT, write_scene
from tests.conftest import noise as random_dn

ONLY = {
    name: CloudMix(**{k: float(k == name) for k in CloudMix.__annotations__})
    for name in CloudMix.__annotations__
}


@pytest.mark.needs_noise
@pytest.mark.parametrize("octaves", [1, 6])
def test_perlin_equals_the_noise_library(octaves):
    noise = pytest.importorskip("noise", reason="the noise library (extra train) needs a compiler")
    rng = np.random.default_rng(octaves)
    x, y = rng.uniform(-300, 300, (2, 40, 50)).astype(np.float32)
    reference = [
        [
            noise.pnoise2(float(a), float(b), octaves=octaves, repeatx=2**20, repeaty=2**20)
            for a, b in zip(*row, strict=True)
        ]
        for row in zip(x, y, strict=True)
    ]
    ours = fractal_perlin(torch.from_numpy(x), torch.from_numpy(y), octaves)
    np.testing.assert_allclose(ours.numpy(), reference, atol=1e-5)


def test_a_tiles_cloud_does_not_depend_on_its_batch():
    clear = torch.rand(6, 3, 64, 64)
    together = simulate_clouds(clear, draw_uniforms(1, 2, list(range(6))), CloudMix())
    for i in range(6):
        alone = simulate_clouds(clear[i : i + 1], draw_uniforms(1, 2, [i]), CloudMix())
        for one, many in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], many[i])
    other = draw_uniforms(1, 3, [0])
    assert not torch.equal(other, draw_uniforms(1, 2, [0]))


@pytest.mark.parametrize("kind", ONLY)
def test_clouds_follow_the_physical_model(kind):
    uniforms = draw_uniforms(7, 0, list(range(64)))
    clear = torch.rand(64, 3, 64, 64)
    cloudy, target, opacity = simulate_clouds(clear, uniforms, ONLY[kind])
    a, light, shadow = draw_clouds(uniforms, ONLY[kind], 64, 64)
    torch.testing.assert_close(cloudy, ((1 - a) * shadow * clear + light).clamp(0, 1))
    for part in (cloudy, target, opacity, a, shadow):
        assert part.min() >= 0
        assert part.max() <= 1
    if kind == "none":
        assert torch.equal(cloudy, clear)
        assert opacity.max() == 0
    else:
        assert (opacity > 0.02).any(dim=(1, 2, 3)).float().mean() > 0.75
    if kind == "deck":
        assert opacity.mean() > 0.9
    if kind in {"haze", "veil"}:  # thin cloud scatters blue no less than red
        assert (a[:, 2] >= a[:, 0] - 1e-6).float().mean() > 0.8


def test_tuning_begins_with_the_given_model(tmp_path, tiny_model):
    plan = Training(steps=1, batch_size=4, generator_rate=0.0, validation_tiles=4)
    given, info = load_generator(tiny_model)
    config = Config(width=info.width, training=plan)
    made = train(config, _tiles(5), _tiles(4), tmp_path / "run", start=tiny_model)
    again, about = load_generator(made)
    assert about.metadata["started_from"]["kind"] == info.metadata["kind"]
    for (name, ours), theirs in zip(again.named_parameters(), given.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)
    with pytest.raises(GeodecloudError, match="width"):
        train(Config(training=plan), _tiles(5), _tiles(4), tmp_path / "other", start=tiny_model)


def test_saturated_is_opaque_and_no_cloud_is_not():
    a = torch.full((1, 3, 2, 2), 0.4)
    assert (apparent_opacity(a, a * 3) == 1).all()
    assert (apparent_opacity(a * 0, a * 0) == 0).all()


def test_bright_ground_stays_below_white():
    """Augmentation never makes a tile that is saturated throughout."""
    dim = torch.rand(200, 3, 64, 64) * 0.8
    out = augment(dim, draw_uniforms(0, 0, list(range(200))))
    assert (out.flatten(1).quantile(0.98, dim=1) <= 0.9 + 1e-5).all()
    assert out.min() >= 0


def test_the_articles_parameter_counts():
    count = lambda network: sum(p.numel() for p in network.parameters())  # noqa: E731
    assert round(count(UNet(opacity=False)) / 1e6, 2) == 7.77
    assert round(count(ResNet()) / 1e6, 2) == 5.04


def test_shapes_and_the_residual():
    generator = UNet(4).eval()
    x = torch.rand(2, 3, 48, 32)
    assert generator(x).shape == (2, 4, 48, 32)
    assert UNet(4, opacity=False)(x).shape == (2, 3, 48, 32)
    assert ResNet()(torch.rand(2, 3, 64, 64)).shape == (2,)
    torch.nn.init.zeros_(generator.head.weight)
    torch.nn.init.zeros_(generator.head.bias)
    torch.testing.assert_close(generator(x)[:, :3], x)


def test_a_saved_model_predicts_what_the_network_did(tmp_path):
    torch.manual_seed(1)
    generator = UNet(8)
    generator(torch.rand(8, 3, 64, 64))  # moves the statistics of BatchNorm
    generator.half().float().eval()
    save_generator(generator, tmp_path / "m.safetensors", {"steps": 3})
    again, info = load_generator(tmp_path / "m.safetensors")
    assert info.metadata["steps"] == 3
    patches = torch.rand(19, 3, 64, 64)
    with torch.inference_mode():
        expected = generator(patches)
        torch.testing.assert_close(again(patches), expected)
    predicted = Predictor(tmp_path / "m.safetensors", "cpu", "fp32")(patches.numpy())
    np.testing.assert_allclose(predicted, expected.numpy(), atol=1e-4)
    assert read_info(tmp_path / "m.safetensors") == info


def test_a_prediction_does_not_depend_on_how_many_are_asked_for(tiny_model):
    predictor = Predictor(tiny_model, "cpu", "fp32")
    patches = np.random.default_rng(0).random((37, 3, 64, 64), np.float32)
    whole = predictor(patches)
    np.testing.assert_array_equal(predictor(patches[:1]), whole[:1])
    np.testing.assert_array_equal(predictor(patches[16:20]), whole[16:20])


def test_a_wide_generator_overfits_four_tiles():
    torch.manual_seed(0)
    plan = Training(steps=120, batch_size=4, warm_up=1.0, generator_rate=3e-3)
    run = Run(Config(width=8, training=plan), torch.device("cpu"))
    clear = torch.rand(4, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    uniforms = draw_uniforms(4, 0, [0, 1, 2, 3])
    losses = [train_step(run, clear, uniforms)["restored"] for _ in range(120)]
    assert losses[-1] < 0.25 * losses[0]


def test_the_loss_is_least_for_the_truth():
    target, opacity = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)
    perfect = torch.cat([target, opacity], 1)
    assert sum(restoration_loss(perfect, target, opacity)) == 0
    assert (
        restoration_loss(perfect + 0.1, target, opacity * 0)[0]
        > restoration_loss(perfect + 0.1, target, opacity * 0 + 1)[0]
    )


def _tiles(count):
    rng = np.random.default_rng(0)
    return Tiles(rng.integers(1, 255, (count, 3, 64, 64), np.uint8), tuple(map(str, range(count))))


def test_a_run_that_was_cut_is_the_same_run(tmp_path):
    config = Config(
        width=4,
        training=Training(steps=6, batch_size=4, validate_every=3, warm_up=0.2, validation_tiles=4),
    )
    train(config, _tiles(13), _tiles(4), tmp_path / "whole", resume=False)

    class CutError(Exception):
        pass

    def until_third(*args):
        for step, batch in enumerate(batches(*args)):
            if step == 3:
                raise CutError
            yield batch

    with pytest.MonkeyPatch.context() as patch, pytest.raises(CutError):  # noqa: PT012
        patch.setattr("geodecloud.training.loop.batches", until_third)
        train(config, _tiles(13), _tiles(4), tmp_path / "cut", resume=False)
    with pytest.raises(GeodecloudError, match="--resume"):
        train(config, _tiles(13), _tiles(4), tmp_path / "cut", resume=False)
    other = dataclasses.replace(config, width=8)
    with pytest.raises(GeodecloudError, match="another configuration"):
        train(other, _tiles(13), _tiles(4), tmp_path / "cut", resume=True)
    with pytest.raises(GeodecloudError, match="other tiles"):
        train(config, _tiles(12), _tiles(4), tmp_path / "cut", resume=True)
    train(config, _tiles(13), _tiles(4), tmp_path / "cut", resume=True)
    logs = []
    for run in ("whole", "cut"):
        lines = (tmp_path / run / "metrics.jsonl").read_text().splitlines()
        logs.append([{**json.loads(line), "step_seconds": 0} for line in lines])
    assert logs[0] == logs[1]
    models = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("whole", "cut")]
    assert models[0] == models[1]


def _eurosat(folder, count=10):
    for name in ("Forest", "River"):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            picture = random_dn((64, 64, 3), "uint8", seed=i)
            Image.fromarray(picture).save(folder / name / f"{name}_{i}.jpg", quality=100)
    return folder


def test_eurosat_as_folder_and_as_zip_is_split_once_and_for_all(tmp_path):
    root = _eurosat(tmp_path / "EuroSAT_RGB")
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        for path in root.rglob("*.jpg"):
            archive.write(path, path.relative_to(tmp_path))
    training, held_out = load_eurosat(root), load_eurosat(root, held_out=True)
    assert (len(training), len(held_out)) == (14, 6)
    assert not set(training.names) & set(held_out.names)
    zipped = load_eurosat(tmp_path / "e.zip")
    assert zipped.names == training.names
    np.testing.assert_array_equal(zipped.pixels, training.pixels)
    assert len(load_eurosat(root, limit=5)) == 5


def test_bad_training_data_is_named(tmp_path):
    with pytest.raises(DataError, match="no such"):
        load_eurosat(tmp_path / "none")
    with pytest.raises(DataError, match="no JPEG"):
        load_eurosat(tmp_path)
    root = _eurosat(tmp_path / "e", 1)
    Image.new("RGB", (32, 64)).save(root / "River" / "River_0.jpg")
    with pytest.raises(DataError, match=r"River_0.jpg: 32x64"):
        load_eurosat(root, held_out=True), load_eurosat(root)
    (root / "River" / "River_0.jpg").write_text("broken")
    with pytest.raises(DataError, match=r"River_0.jpg: damaged"):
        load_eurosat(root, held_out=True), load_eurosat(root)
    with pytest.raises(DataError, match="fewer than one batch"):
        next(batches(_tiles(3), 0, 4, 0))


def test_scenes_are_cut_into_tiles_without_nodata(tmp_path):
    dn = random_dn((3, 130, 200))
    dn[2] = np.maximum(dn[2], 800)  # blue as bright as L1C's: no air is added
    dn[:, 70, 70] = 0
    write_scene(tmp_path / "a.tif", dn, nodata=0)
    tiles = tiles_from_scenes(tmp_path)
    assert tiles.names == ("a.tif@0,0", "a.tif@0,64", "a.tif@0,128", "a.tif@64,0", "a.tif@64,128")
    published = np.clip(np.floor(dn[:, :64, :64] * 254.0 / 2750 + 1.5), 1, 255)
    assert abs(tiles.pixels[0] - published).max() <= 1
    with pytest.raises(DataError, match="no tile"):
        tiles_from_scenes(ROOT / "configs")


def test_epochs_take_each_tile_once():
    tiles = _tiles(12)
    seen = [batch[1] for batch, _ in zip(batches(tiles, 5, 4, 0), range(3), strict=False)]
    assert len({tuple(row[:4].tolist()) for uniforms in seen for row in uniforms}) == 12
    third = next(batches(tiles, 5, 4, 2))
    torch.testing.assert_close(third[1], seen[2])


def test_the_default_configuration_is_the_file():
    assert load_config(ROOT / "configs" / "default.toml") == Config()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[training]\nstep = 3", "'step'; did you mean 'steps'"),
        ("widht = 3", "did you mean 'width'"),
        ("[training]\nsteps = 'many'", "must be int"),
        ("[training]\nsteps = 0", "at least 1"),
        ("[clouds]\nnone = 0.5", "add up to"),
        ("clouds = 3", "a table of keys"),
        ("width = 0", "at least 1"),
        ("[training]\ngenerator_rate = -1.0", "generator_rate is -1"),
        ("[training]\nema_decay = 7", "a share"),
        ("not toml", "not valid TOML"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path, text, words):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_config(path)


def test_each_uniform_is_used_once():
    """Were there one column fewer, the last draw would find none."""
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clouds._Draw, "uniform", lambda self: drawn.append(1) or next(self._columns))
        draw_clouds(torch.rand(2, clouds.UNIFORMS), CloudMix(), 64, 64)
    assert len(drawn) <= clouds.UNIFORMS
    with pytest.raises(StopIteration):
        draw_clouds(torch.rand(2, len(drawn) - 1), CloudMix(), 64, 64)
