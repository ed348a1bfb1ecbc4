"""Configurations: the files are what they say, and a wrong one is named."""

import dataclasses
import subprocess
import sys

import pytest

from geodecloud.errors import ConfigError
from geodecloud.model.config import GeneratorPlan
from geodecloud.training.config import Config, load_config
from tests.conftest import ROOT


def test_the_default_configuration_is_the_file():
    assert load_config(ROOT / "configs" / "physical.toml") == Config()


def test_the_articles_recipe_changes_no_tile():
    """Each share by its name: one that is added later must be 0 there too."""
    plan = load_config(ROOT / "configs" / "article.toml").augmentation
    assert set(dataclasses.asdict(plan).values()) == {0.0}


def test_the_old_name_of_the_dark_object_goes_on_working(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[generator]\ndarkest = false")
    assert load_config(path).generator == GeneratorPlan(dark_object=False)


def test_reading_a_configuration_imports_nothing_heavy():
    heavy = "{'torch', 'rasterio'}"
    script = f"import sys, geodecloud.training.config; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[training]\nstep = 3", "[training] unknown key 'step'; did you mean 'steps'"),
        ("recipee = 3", "did you mean 'recipe'"),
        ("recipe = 'mine'", "must be physical or article"),
        ("[training]\nsteps = 'many'", "must be int"),
        ("[training]\nsteps = 0", "at least 1"),
        ("[clouds]\nnone = 0.5", "add up to"),
        ("clouds = 3", "a table of keys"),
        ("[generator]\nwidth = 0", "at least 1"),
        ("[generator]\nopacity = 1", "must be bool"),
        ("[generator]\nupsample = 'cubic'", "bilinear or transposed"),
        ("[discriminator]\nblocks = [1]", "equal length"),
        ("[discriminator]\nblocks = 'x'", "a list of whole numbers"),
        ("[discriminator]\nblocks = [1, 0]\nwidths = [8, 8]", "1 or more"),
        ("[discriminator]\nblocks = [1, 1]\nwidths = [4, 8]", "8 or more"),
        ("[augmentation]\ncoarse = 2.0", "a fraction"),
        ("[losses]\nl1 = -1.0", "l1 is -1"),
        ("[losses]\nl1 = nan", "l1 is nan"),
        ("[clouds]\nnone = nan", "add up to"),
        ("[training]\ndiscriminator_momentum = 1.0", "must be less"),
        ("[training]\nweight_decay = inf", "weight_decay is inf"),
        ("[training]\ngenerator_rate = -1.0", "generator_rate is -1"),
        ("[training]\nema_decay = 7", "a fraction"),
        ("not toml", "not valid TOML"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path, text, words):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert words in str(error.value)
    assert "c.toml" in str(error.value)


@pytest.mark.parametrize("name", ["highlights", "context", "shadow"])
def test_a_recipe_of_one_level_has_no_inputs_of_two(name):
    with pytest.raises(ConfigError, match="need two levels, but recipe is 'physical'"):
        Config(generator=GeneratorPlan(**{name: True}))
