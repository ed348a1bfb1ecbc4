"""Laws of the random numbers: each has a name, and depends on seed, epoch and tile alone."""

from collections import Counter

import pytest
import torch

from geodecloud.data.article import article_draw, overlay_noise
from geodecloud.data.augment import augment, augmentation_draw
from geodecloud.data.clouds import cloud_draw, simulate_clouds
from geodecloud.data.config import Augmentation, CloudMix
from geodecloud.data.draw import TileDraw, draw_numbers, per_band, scoped

DRAWS = {"clouds": cloud_draw, "augmentation": augmentation_draw, "article": article_draw}
ALL = Augmentation(1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5)


def test_a_number_depends_on_seed_epoch_item_and_name_alone():
    names = ("one", "other", "third")
    whole = draw_numbers(3, 4, [5, 6, 7], names)
    for i, item in enumerate((5, 6, 7)):
        alone = draw_numbers(3, 4, [item], names)
        for name in names:
            assert alone.uniform(name)[0] == whole.uniform(name)[i]
    for other in (draw_numbers(2, 4, [5], names), draw_numbers(3, 5, [5], names)):
        assert other.uniform("one")[0] != whole.uniform("one")[0]
    # One more name at the end changes none of the others.
    more = draw_numbers(3, 4, [5, 6, 7], (*names, "fourth"))
    assert all(torch.equal(more.uniform(name), whole.uniform(name)) for name in names)
    with pytest.raises(ValueError, match="not in tuple"):
        whole.uniform("fourth")


def test_numbers_are_uniform_and_within_their_bounds():
    draw = draw_numbers(0, 0, range(4000), ("value", *per_band("colour")))
    value = draw.uniform("value")
    assert value.shape == (4000, 1, 1, 1)
    assert value.dtype == torch.float32
    assert 0 <= value.min() < 0.01
    assert 0.99 < value.max() < 1
    counts = torch.histc(value, 10, 0, 1)
    assert counts.min() > 320
    assert 0.27 < draw.chance("value", 0.3).float().mean() < 0.33
    assert draw.between("value", 3, 5).min() >= 3
    assert draw.log_between("value", 10, 1000).log().mean() == pytest.approx(4.605, abs=0.1)
    east, south = draw.direction("value")
    torch.testing.assert_close(east**2 + south**2, torch.ones_like(east))
    colour = draw.per_band("colour")
    assert colour.shape == (4000, 3, 1, 1)
    assert torch.corrcoef(colour[:, :, 0, 0].T).fill_diagonal_(0).abs().max() < 0.05


def test_some_tiles_keep_their_numbers():
    draw = draw_numbers(0, 0, range(6), scoped("sand", "cell", "x"))
    chosen = torch.tensor([False, True, False, False, True, True])
    assert torch.equal(draw.select(chosen).uniform("sand x"), draw.uniform("sand x")[chosen])
    assert torch.equal(draw.to(torch.device("cpu")).values, draw.values)


@pytest.mark.parametrize("of", DRAWS)
def test_each_number_has_one_name_and_is_used_once(of, monkeypatch):
    """A number that is used twice would tie together what should be independent."""
    used = Counter()
    uniform = TileDraw.uniform

    def count(self, name):
        used[name] += 1
        return uniform(self, name)

    draw = DRAWS[of](1, 0, range(4))
    monkeypatch.setattr(TileDraw, "uniform", count)
    clear = torch.rand(4, 3, 64, 64)
    if of == "clouds":
        simulate_clouds(clear, draw, CloudMix(), around=torch.zeros(4, 3))
    elif of == "augmentation":
        augment(clear, clear[:, None].expand(-1, 3, -1, -1, -1), clear, draw, ALL)
    else:
        overlay_noise(clear, draw)
    assert len(set(draw.names)) == len(draw.names)
    assert used == Counter(name for name in draw.names if not name.startswith("spare"))
