"""Score a model on pairs of scenes: the same ground under cloud and clear."""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from geodecloud.decloud import decloud_scene
from geodecloud.errors import DataError, OutputError, UsageError
from geodecloud.evaluation.dark_channel import dehaze
from geodecloud.evaluation.folders import files_by_stem, refuse_other_grid
from geodecloud.evaluation.metrics import Mask, Picture, bias
from geodecloud.evaluation.other_bands import (
    OtherPictures,
    keep_shared,
    score_others,
    shared_bands,
)
from geodecloud.evaluation.tables import METRICS, Scores, mean_scores, score
from geodecloud.model.predictor import load_predictor
from geodecloud.radiometry import guess_radiometry
from geodecloud.raster.array import read_array
from geodecloud.raster.bands import COLOURS
from geodecloud.raster.calibration import as_given
from geodecloud.raster.preview import save_grid
from geodecloud.raster.provenance import Provenance, read_provenance
from geodecloud.raster.scene import Scene, open_scene
from geodecloud.raster.statements import read_statements, stated_radiometry
from geodecloud.raster.validity import is_doubtful
from geodecloud.restore.patches import Predict
from geodecloud.settings import ModelSpec, Policy, Reading, Settings

_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
_POINTWISE = ("psnr", "mae")  # metrics without a neighbourhood, which score any set of pixels
_DEFAULTS = Settings()


@dataclass(frozen=True)
class _Pair:
    """A restored pair; images are float32 (3, rows, columns), in the cloudy scene's model range."""

    cloudy: Picture
    restored: Picture
    clear: Picture
    valid: Mask  # (rows, columns), valid in the cloudy and the clear scene
    measured: Mask  # (rows, columns), measured according to the provenance
    groups: dict[str, Mask]  # (rows, columns) each, see :func:`group_pixels`
    changed_fraction: float
    computed_fraction: float
    reprod_mae: float  # DN, between restored and cloudy at measured pixels
    others: OtherPictures


def evaluate_pairs(
    cloudy_dir: Path,
    clear_dir: Path,
    model: Path | None,
    only: list[str] | None = None,
    pictures: Path | None = None,
    settings: Settings = _DEFAULTS,
) -> Scores:
    """Score cloudy, dehazed and restored scenes against the clear ones.

    Each cloudy scene is restored into a file, which is read back. Each scene is read with the
    scale and offset that it states; a clear scene that states none is read with those of the
    cloudy one. Scores are of the scenes as read, without a correction of path radiance.

    Args:
        cloudy_dir, clear_dir: folders of GeoTIFF, PNG or JPEG; the files of a pair share a stem.
        model: a model file; None: the built-in one.
        only: stems of the pairs to score; None: all.
        pictures: a folder for a PNG of each pair, cloudy | restored | clear; made if missing.
        settings: of restoring; a given scale and offset apply to both scenes.

    Returns:
        ``pairs``, their number. For each key of ``tables.ROWS``: psnr in dB, ssim, sam in degrees,
        mae in model range. Brighter pixels count as 1. ``under_cloud`` and ``in_the_clear``: psnr
        and mae of each row over the changed and over the measured pixels, and ``fraction``, their
        fraction of the valid pixels.
        ``by_opacity``: the same for each group of :func:`group_pixels`. A pair without pixels in a
        group counts only in its ``fraction``. ``clear_below``, ``opaque_above``: the opacities that
        divide the groups. ``bias``: for each row, the mean error in red, green and blue, in model
        range; positive if brighter than the clear scene. ``other_bands``: see
        :func:`geodecloud.evaluation.other_bands.score_others`. ``changed_fraction``: fraction of
        the pixels that changed. ``computed_fraction``: fraction of the windows that the network
        computed. ``reprod_mae``: mean difference in DN between restored and cloudy at measured
        pixels; anything but 0 is a bug. All are means over the pairs, see
        :func:`geodecloud.evaluation.tables.mean_scores`; ``each`` has the scores by stem.

    Raises:
        DataError: a pair is incomplete or does not match; raised before any scene is restored.
        OutputError: ``pictures`` cannot be made.
        UsageError: ``pictures`` is one of the input folders.
    """
    pairs = _find_pairs(cloudy_dir, clear_dir, only)
    for cloudy, clear in pairs.values():
        _check_match(cloudy, clear, settings.reading)
    if pictures:
        if pictures.resolve() in (cloudy_dir.resolve(), clear_dir.resolve()):
            raise UsageError(f"{pictures}: holds the pairs themselves; give another folder")
        try:
            pictures.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{pictures}: cannot be a folder ({error.strerror}); name another"
            ) from error
    predictor = load_predictor(ModelSpec(model=model), settings.limits.threads)
    each = {}
    with tempfile.TemporaryDirectory() as folder:
        for stem, (cloudy, clear) in tqdm(pairs.items(), "pairs", leave=False, disable=None):
            pair = _restore(cloudy, clear, predictor, Path(folder), settings)
            each[stem] = _score(pair)
            if pictures:
                save_grid(pictures / f"{stem}.png", [[pair.cloudy, pair.restored, pair.clear]])
    keep_shared(list(each.values()))
    policy = settings.policy
    return {
        "pairs": len(each),
        "clear_below": policy.clear_below,
        "opaque_above": policy.opaque_above,
        **mean_scores(list(each.values())),
        "each": each,
    }


def group_pixels(
    opacity: NDArray[np.uint8], provenance: NDArray[np.uint8], policy: Policy
) -> dict[str, Mask]:
    """Group the pixels with data by the opacity that the model predicts.

    Args:
        opacity: uint8 (rows, columns), in percent, rounded up.
        provenance: codes, uint8 (rows, columns).

    Returns:
        masks, bool (rows, columns). ``thick``: opacity above ``policy.opaque_above``; ``clear``:
        up to ``policy.clear_below``; ``thin``: between; ``relit_shadow``: relit in a cloud's
        shadow, whatever the opacity. Opacity is rounded up to a percent, so a pixel exactly at a
        limit counts as less opaque.
    """
    shadow = provenance == Provenance.SHADOW
    grouped = (provenance != Provenance.NODATA) & ~shadow
    thick = opacity >= min(_percent_above(policy.opaque_above), 100)
    clear = opacity < _percent_above(policy.clear_below)
    return {
        "clear": grouped & clear,
        "thin": grouped & ~clear & ~thick,
        "thick": grouped & thick,
        "relit_shadow": shadow,
    }


def _percent_above(opacity: float) -> int:
    """Return the lowest percentage, rounded up, of a pixel above this opacity."""
    return math.floor(round(opacity * 100, 6)) + 1


def _find_pairs(
    cloudy_dir: Path, clear_dir: Path, only: list[str] | None
) -> dict[str, tuple[Path, Path]]:
    cloudy, clear = (files_by_stem(folder, _SUFFIXES) for folder in (cloudy_dir, clear_dir))
    wanted = sorted(cloudy if only is None else set(only))
    if missing := [stem for stem in wanted if stem not in cloudy]:
        raise DataError(
            f"{cloudy_dir}: {', '.join(missing)} not found; give file names without suffix"
        )
    if not wanted:
        raise DataError(f"{cloudy_dir}: no pairs in it; give a folder of .tif, .png or .jpg files")
    if missing := [stem for stem in wanted if stem not in clear]:
        raise DataError(
            f"{clear_dir}: {', '.join(missing)} missing; give a clear scene for each cloudy one"
        )
    return {stem: (cloudy[stem], clear[stem]) for stem in wanted}


def _check_match(cloudy: Path, clear: Path, reading: Reading) -> None:
    with open_scene(cloudy, reading=reading) as before, open_scene(clear, reading=reading) as truth:
        if before.shape != truth.shape:
            raise DataError(f"{clear}: {_size(truth)}, but {cloudy} is {_size(before)}; crop one")
        if guess_radiometry(before.dtype) != guess_radiometry(truth.dtype):
            raise DataError(f"{clear}: {truth.dtype}, but {cloudy} is {before.dtype}; convert one")
        refuse_other_grid(clear, truth.grid, cloudy, before.grid)


def _size(scene: Scene) -> str:
    rows, columns = scene.shape
    return f"{columns} x {rows} pixels"


def _restore(
    cloudy: Path, clear: Path, predict: Predict, folder: Path, settings: Settings
) -> _Pair:
    """Restore the cloudy scene into a file in ``folder``, and read all three scenes."""
    reading = settings.reading
    with open_scene(cloudy, reading=reading) as before, open_scene(clear, reading=reading) as truth:
        all_dn, valid = before.read(0, before.shape[0])
        all_clear, clear_valid = truth.read(0, truth.shape[0])
        dn, clear_dn = all_dn[before.rgb], all_clear[truth.rgb]
        bands = shared_bands(before, truth)
        valid &= clear_valid & ~is_doubtful(dn) & ~is_doubtful(clear_dn)
        stated = stated_radiometry(read_statements(truth))
    if not valid.any():
        raise DataError(f"{clear}: has no valid pixel in common with {cloudy}; check nodata")
    restored = folder / "restored.tif"
    files = {name: folder / f"{name}.tif" for name in ("provenance", "opacity")}
    settings = settings.replace(**files, overwrite=True, force=True)
    report = decloud_scene(cloudy, restored, predict, settings)
    settled = Reading(bands=report.bands, declared_nodata_only=True)
    with open_scene(restored, settled) as after:
        all_restored = after.read(0, after.shape[0])[0]
        restored_dn = all_restored[after.rgb]
    nodata = before.nodata, after.nodata, truth.nodata
    provenance, opacity = read_provenance(files["provenance"]), read_array(files["opacity"])[0]
    measured = provenance == Provenance.MEASURED
    differences = restored_dn[:, measured].astype(np.float64) - dn[:, measured]
    radiometry = report.radiometry
    clear_radiometry = as_given(reading, radiometry if stated.guessed else stated)
    return _Pair(
        cloudy=radiometry.to_model(dn),
        restored=radiometry.to_model(restored_dn),
        clear=clear_radiometry.to_model(clear_dn),
        valid=valid,
        measured=measured,
        groups=group_pixels(opacity, provenance, settings.policy),
        changed_fraction=report.changed_fraction,
        computed_fraction=1 - report.windows_skipped / max(report.windows, 1),
        reprod_mae=float(np.abs(differences).mean()) if differences.size else 0.0,
        others=OtherPictures.of(
            bands,
            (all_dn, all_restored, all_clear),
            (dn, restored_dn, clear_dn),
            (radiometry, radiometry, clear_radiometry),
            nodata,
        ),
    )


def _score(pair: _Pair) -> Scores:
    images = {
        "identity": pair.cloudy,
        "dark_channel_prior": dehaze(pair.cloudy, pair.valid),
        "restored": pair.restored,
    }

    def rows(valid: Mask, metrics: tuple[str, ...]) -> Scores:
        return {row: score(image, pair.clear, valid, metrics) for row, image in images.items()}

    def part(pixels: Mask) -> Scores:
        fraction = float(np.mean(pixels[pair.valid]))
        return {"fraction": fraction, **rows(pair.valid & pixels, _POINTWISE)}

    def signed(image: Picture) -> Scores:
        errors = bias(image, pair.clear, pair.valid).tolist()
        return dict(zip(COLOURS, errors, strict=True))

    return {
        **rows(pair.valid, tuple(METRICS)),
        "under_cloud": part(~pair.measured),
        "in_the_clear": part(pair.measured),
        "by_opacity": {name: part(group) for name, group in pair.groups.items()},
        "bias": {row: signed(image) for row, image in images.items()},
        "other_bands": score_others(
            pair.others,
            {"all": pair.valid, **{name: pair.valid & one for name, one in pair.groups.items()}},
        ),
        "changed_fraction": pair.changed_fraction,
        "computed_fraction": pair.computed_fraction,
        "reprod_mae": pair.reprod_mae,
    }
