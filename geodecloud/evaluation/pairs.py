"""Scores on pairs of scenes: the same place under cloud and clear."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from geodecloud.decloud import decloud_scene
from geodecloud.errors import DataError, UsageError
from geodecloud.evaluation.dark_channel import dehaze
from geodecloud.evaluation.metrics import Mask, Picture
from geodecloud.evaluation.tables import METRICS, Scores, mean_scores, score
from geodecloud.model.checkpoint import default_model
from geodecloud.model.predictor import Predictor
from geodecloud.radiometry import guess_radiometry
from geodecloud.raster.aoi import placed
from geodecloud.raster.calibration import holds_sentinels_dn, stated_radiometry, statements
from geodecloud.raster.preview import save_grid
from geodecloud.raster.scene import open_scene
from geodecloud.raster.writer import read_provenance
from geodecloud.restore.composite import MEASURED
from geodecloud.restore.strips import Predict
from geodecloud.settings import Settings

_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
_AS_THEY_ARE = Settings()
_SAME_PLACE = 0.5  # pixels between the corners of two scenes of a pair
_BY_PLACE = ("psnr", "mae")  # what has a meaning for pixels that lie apart


@dataclass(frozen=True)
class _Pair:
    """A place; pictures are float32 (3, rows, width), in the cloudy scene's model range."""

    cloudy: Picture
    restored: Picture
    clear: Picture
    valid: Mask  # (rows, width), in the cloudy and in the clear scene
    measured: Mask  # (rows, width), by the provenance
    changed_fraction: float
    reprod_mae: float  # DN, between restored and cloudy where measured


def evaluate_pairs(
    cloudy_dir: Path,
    clear_dir: Path,
    model: Path | None,
    only: list[str] | None = None,
    pictures: Path | None = None,
    settings: Settings = _AS_THEY_ARE,
) -> Scores:
    """How near the cloudy scenes are to the clear ones: as they are, dehazed, and restored.

    The whole way is scored: each cloudy scene is restored into a file, which is read back. The
    clear scene of a pair is read with the scale and offset that it states; where it states none,
    with those of the cloudy one, as found when it is restored. Nothing is put in for the air.

    Args:
        cloudy_dir, clear_dir: folders of GeoTIFF, PNG, JPEG; a pair has the same file stem.
        model: a model file; None: the built-in one.
        only: stems of the files to take; None: all.
        pictures: a folder for pictures of each pair, cloudy | restored | clear; made if needed.
        settings: for restoring: scale and offset (then of both scenes), windows.

    Returns:
        ``pairs``, their number. For each row of ``scores.ROWS``: psnr (dB), ssim, sam (degrees),
        mae (model range). ``under_cloud`` and ``in_the_clear``: psnr and mae for each row, over
        the pixels that the run changed, and that it left as measured. ``changed_fraction``.
        ``reprod_mae``: mean difference in DN between restored and cloudy over measured pixels;
        0, or the promise is broken. All are means over the pairs, see
        :func:`geodecloud.evaluation.tables.mean_scores`; ``each`` has them by stem.

    Raises:
        DataError: a pair is missing or does not fit together; before any is restored.
        UsageError: ``pictures`` is one of the input folders.
    """
    pairs = _find_pairs(cloudy_dir, clear_dir, only)
    for cloudy, clear in pairs.values():
        _refuse_unlike(cloudy, clear)
    if pictures:
        if pictures.resolve() in (cloudy_dir.resolve(), clear_dir.resolve()):
            raise UsageError(f"{pictures}: holds the pairs themselves; name another folder")
        pictures.mkdir(parents=True, exist_ok=True)
    predictor = Predictor(model or default_model())
    each = {}
    with tempfile.TemporaryDirectory() as folder:
        for stem, (cloudy, clear) in tqdm(pairs.items(), "pairs", leave=False, disable=None):
            pair = _restore(cloudy, clear, predictor, Path(folder), settings)
            each[stem] = _score(pair)
            if pictures:
                save_grid(pictures / f"{stem}.png", [[pair.cloudy, pair.restored, pair.clear]])
    return {"pairs": len(each), **mean_scores(list(each.values())), "each": each}


def _find_pairs(
    cloudy_dir: Path, clear_dir: Path, only: list[str] | None
) -> dict[str, tuple[Path, Path]]:
    """The (cloudy, clear) files by stem."""
    cloudy, clear = _by_stem(cloudy_dir), _by_stem(clear_dir)
    wanted = sorted(cloudy if only is None else set(only))
    if missing := [stem for stem in wanted if stem not in cloudy]:
        raise DataError(f"{cloudy_dir}: no {', '.join(missing)} in it")
    if not wanted:
        raise DataError(f"{cloudy_dir}: no pairs to score; give a folder of .tif or .png files")
    if missing := [stem for stem in wanted if stem not in clear]:
        raise DataError(
            f"{clear_dir}: {', '.join(missing)} missing; each cloudy scene needs a clear one"
        )
    return {stem: (cloudy[stem], clear[stem]) for stem in wanted}


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder of .tif or .png files")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                raise DataError(f"{path}: {found[path.stem].name} has the same stem; remove one")
            found[path.stem] = path
    return found


def _refuse_unlike(cloudy: Path, clear: Path) -> None:
    """Refuse a pair of other sizes, types or places."""
    with open_scene(cloudy) as before, open_scene(clear) as truth:
        if before.shape != truth.shape:
            raise DataError(f"{clear}: not of the size of {cloudy}")
        if guess_radiometry(before.dtype) != guess_radiometry(truth.dtype):
            raise DataError(f"{clear}: {truth.dtype}, but {cloudy} is {before.dtype}; convert one")
        one, other = before.dataset, truth.dataset
        if placed(one) and placed(other):
            from_pixel_to_pixel = ~one.transform * other.transform
            corners = [(0, 0), (one.width, one.height)]
            apart = np.abs(np.subtract([from_pixel_to_pixel * at for at in corners], corners)).max()
            if one.crs != other.crs or apart > _SAME_PLACE:
                raise DataError(f"{clear}: does not lie where {cloudy} does; gdalwarp it first")


def _restore(
    cloudy: Path, clear: Path, predict: Predict, folder: Path, settings: Settings
) -> _Pair:
    """Restore the cloudy scene into a file in ``folder``, and read all three."""
    with open_scene(cloudy) as before, open_scene(clear) as truth:
        dn, valid = before.read(0, before.shape[0])
        clear_dn, clear_valid = truth.read(0, truth.shape[0])
        dn, clear_dn = dn[before.rgb], clear_dn[truth.rgb]
        if holds_sentinels_dn(truth.dtype):  # 0 is nodata there, declared or not
            clear_valid &= (clear_dn != 0).any(axis=0)
        own = stated_radiometry(statements(truth))
    if not (valid & clear_valid).any():
        raise DataError(f"{clear}: no pixel is valid both there and in {cloudy}")
    restored, marks = folder / "restored.tif", folder / "provenance.tif"
    settings = settings.replace(provenance=marks, overwrite=True)
    report = decloud_scene(cloudy, restored, predict, settings)
    with open_scene(restored, report.bands) as after:
        restored_dn = after.read(0, after.shape[0])[0][after.rgb]
    measured = read_provenance(marks) == MEASURED
    lost = restored_dn[:, measured].astype(np.float64) - dn[:, measured]
    to_model = report.radiometry.to_model
    named = settings.reading.scale is not None or settings.reading.offset is not None
    clear_to_model = to_model if named or own.guessed else own.to_model
    return _Pair(
        *(to_model(dn), to_model(restored_dn), clear_to_model(clear_dn)),
        valid & clear_valid,
        measured,
        report.changed_fraction,
        float(np.abs(lost).mean()) if lost.size else 0.0,
    )


def _score(pair: _Pair) -> Scores:
    pictures = {
        "identity": pair.cloudy,
        "dark_channel_prior": dehaze(pair.cloudy, pair.valid),
        "restored": pair.restored,
    }

    def rows(where: Mask, metrics: tuple[str, ...]) -> Scores:
        return {row: score(pictures[row], pair.clear, where, metrics) for row in pictures}

    return {
        **rows(pair.valid, tuple(METRICS)),
        "under_cloud": rows(pair.valid & ~pair.measured, _BY_PLACE),
        "in_the_clear": rows(pair.valid & pair.measured, _BY_PLACE),
        "changed_fraction": pair.changed_fraction,
        "reprod_mae": pair.reprod_mae,
    }
