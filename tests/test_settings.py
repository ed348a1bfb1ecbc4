"""Laws of the settings and of the package's face: every option is declared once."""

import ast
import dataclasses
import json
import pickle
import typing
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import geodecloud
from geodecloud import Settings, UsageError, mask_file
from geodecloud.cli.options import option_fields
from geodecloud.data import cloud_kinds
from geodecloud.qgis.plugin.options import CLOUDS, OPTIONS
from geodecloud.settings import ModelSpec, Policy
from geodecloud.settings.option import choices_of, flags_of, hints, option_of
from geodecloud.settings.parse import without_query
from tests.conftest import ROOT, noise, read, write_scene

PLUGIN = ROOT / "geodecloud" / "qgis" / "plugin"
FIELDS = {
    one.name: (part, one)
    for part in (*hints(Settings).values(), ModelSpec)
    for one in dataclasses.fields(part)
}


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_has_a_help_text_that_stands_alone(name):
    text = option_of(FIELDS[name][1]).help
    assert text[0].isupper()
    assert not text.endswith((".", ":", ","))
    assert not text.startswith(("Of ", "Whether ", "What ", "Where ", "Its "))


def test_option_names_are_unique_over_the_parts():
    parts = (*hints(Settings).values(), ModelSpec)
    assert len(FIELDS) == sum(len(dataclasses.fields(part)) for part in parts)


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"bands": "4,3,2"}, "bands", (4, 3, 2)),
        ({"bands": [4, 3, 2]}, "bands", (4, 3, 2)),
        ({"bands": np.array([4, 3, 2])}, "bands", (4, 3, 2)),
        ({"scale": "10000"}, "scale", 10000.0),
        ({"offset": "auto"}, "offset", None),
        ({"aoi": (0, 1.5, 2, 3)}, "aoi", "0,1.5,2,3"),
        ({"aoi": Path("a.geojson")}, "aoi", "a.geojson"),
        ({"mask": "m.tif", "mask_values": 9}, "mask_values", (9,)),
        ({"mask": "m.tif", "mask_values": "3,8"}, "mask_values", (3, 8)),
        ({"references": "x.tif"}, "references", (Path("x.tif"),)),
        ({"references": [Path("x.tif"), "y.tif"]}, "references", (Path("x.tif"), Path("y.tif"))),
        ({"provenance": "p.tif"}, "provenance", Path("p.tif")),
        ({"format": "COG"}, "format", "cog"),
        ({"creation_options": {"COMPRESS": "ZSTD"}}, "creation_options", ("COMPRESS=ZSTD",)),
        ({"threads": "ALL_CPUS"}, "threads", None),
        ({"threads": np.int64(2)}, "threads", 2),
        ({"window": 64.0}, "window", 64),
        ({"max_memory": "1.5GiB"}, "max_memory", 3 << 29),
        ({"max_memory": "600MiB"}, "max_memory", 600 << 20),
        ({"max_memory": 1 << 30}, "max_memory", 1 << 30),
    ],
)
def test_a_value_with_a_plain_meaning_is_taken(options, field, value):
    settings = Settings(**options)
    parts = [getattr(settings, one.name) for one in dataclasses.fields(settings)]
    (found,) = [getattr(part, field) for part in parts if hasattr(part, field)]
    assert found == value
    assert settings == Settings().replace(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": "1,2"}, "`bands` is 1,2: give three numbers like 4,3,2"),
        ({"bands": 5}, "`bands` is 5: give three numbers like 4,3,2"),
        ({"bands": "red,green,blue"}, "`bands` is red,green,blue: give three numbers like 4,3,2"),
        ({"scale": 0}, "`scale` is 0: give more than 0"),
        ({"scale": "large"}, "`scale` is large: give a number"),
        ({"offset": True}, "`offset` is True: give a number like -1000"),
        ({"aoi": ""}, "`aoi` is empty: give left,bottom,right,top or a GeoJSON file"),
        ({"aoi": 5}, "`aoi` is 5: give left,bottom,right,top or a GeoJSON file"),
        ({"mask": 5}, "`mask` is 5: give the path of a file"),
        ({"mask_values": ""}, "`mask_values` is empty: give whole numbers like 3,8,9,10"),
        ({"references": 5}, "`references` is 5: give the path of a file, or several"),
        ({"resolution": 15}, "`resolution` is 15: give 10, 20 or 60"),
        ({"window": None}, "`window` is None: give a whole number"),
        ({"overlap": 33}, "`overlap` is 33: give at most half of `window`, 32"),
        ({"ramp": "step"}, "`ramp` is step: give cosine or linear"),
        ({"opaque": "hide"}, "`opaque` is hide: give fill, keep or nodata"),
        ({"shadows": "paint"}, "`shadows` is paint: give restore, keep or fill"),
        ({"opaque_above": 2}, "`opaque_above` is 2: give 0 to 1"),
        ({"fill_limit": -3}, "`fill_limit` is -3: give more than 0"),
        ({"stac": "yes"}, "`stac` is yes: give True or False"),
        ({"creation_options": "ZSTD"}, "`creation_options` is ZSTD: give KEY=VALUE pairs"),
        ({"threads": 0}, "`threads` is 0: give 1 or more"),
        ({"threads": 1.5}, "`threads` is 1.5: give a whole number, or ALL_CPUS"),
        ({"max_memory": "600"}, "`max_memory` is 600: give a size with its unit, like 1GiB"),
        ({"opaqe": "fill"}, "`opaqe` is not an option; did you mean opaque?"),
    ],
)
def test_any_other_value_is_refused_in_one_line_that_names_the_field(options, message):
    with pytest.raises(UsageError) as refusal:
        Settings(**options)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


def test_parts_and_options_go_together():
    settings = Settings(policy=Policy(opaque="nodata", opaque_above=0.8), opaque="keep")
    assert settings.policy == Policy(opaque="keep", opaque_above=0.8)
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301  our own


@pytest.mark.parametrize(("old", "new"), [("keep_veil", "keep_haze"), ("co", "creation_options")])
def test_an_old_name_goes_on_working_with_a_warning(old, new):
    value = True if old == "keep_veil" else "COMPRESS=LZW"
    with pytest.warns(DeprecationWarning, match=f"`{old}` is now called `{new}`"):
        assert Settings(**{old: value}) == Settings(**{new: value})


@pytest.mark.parametrize(
    "call", [Settings, Settings().replace, partial(mask_file, "in.tif", "out.tif")]
)
def test_the_warning_of_an_old_name_points_at_the_caller(call):
    """Python shows it in scripts alone."""
    with pytest.warns(DeprecationWarning, match="keep_veil") as warned, suppress(UsageError):
        call(keep_veil=True, other=1)
    assert [warning.filename for warning in warned] == [__file__]


def test_the_package_shows_all_that_a_user_needs_and_nothing_else():
    assert sorted(dir(geodecloud)) == sorted(geodecloud.__all__)
    for name in geodecloud.__all__:
        assert getattr(geodecloud, name) is not None
    errors = {name for name in geodecloud.__all__ if name.endswith("Error")}
    assert len(errors - {"GeodecloudError"}) == 6
    for name in errors:
        assert issubclass(getattr(geodecloud, name), geodecloud.GeodecloudError)
    for name in geodecloud.__all__:
        if name.endswith("Warning"):
            assert issubclass(getattr(geodecloud, name), geodecloud.GeodecloudWarning)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        geodecloud.nothing  # noqa: B018


def test_a_file_is_restored_with_flat_options(tmp_path, tiny_model):
    src = write_scene(tmp_path / "in.tif", noise((3, 40, 40)), nodata=0)
    report = geodecloud.decloud_file(
        src,
        tmp_path / "out.tif",
        Settings(opaque="keep", scale=9000),
        opaque="nodata",
        bands="1,2,3",
        provenance=tmp_path / "p.tif",
        threads=2,
        model=geodecloud.ModelSpec(tiny_model, "cpu", "fp32"),
    )
    assert isinstance(report, geodecloud.Report)
    assert report.radiometry.scale == 9000
    assert read(tmp_path / "p.tif").shape == (1, 40, 40)


@pytest.mark.parametrize("option", ["mask", "references"])
def test_an_array_in_place_of_a_file_is_refused_in_one_line(option):
    for array in (np.ones((9, 9)), [np.ones((9, 9))]):
        with pytest.raises(UsageError, match=f"`{option}` is of type .*: give the path") as refused:
            Settings(**{option: array})
        assert "\n" not in str(refused.value)


def test_an_array_is_restored_with_flat_options(tiny_model):
    dn = noise((3, 40, 40))
    same = {"model": tiny_model, "threads": 1, "opaque": "keep"}
    flat = geodecloud.decloud_array(dn, scale=9000, offset=-500, nodata=0, **same)
    parts = geodecloud.decloud_array(dn, Settings(scale=9000, offset=-500), nodata=0, **same)
    assert (flat.report.radiometry.scale, flat.report.radiometry.offset) == (9000, -500)
    np.testing.assert_array_equal(flat.array, parts.array)
    with pytest.raises(UsageError, match="`settings` is"):
        geodecloud.decloud_array(dn, {"opaque": "keep"})


def test_the_number_of_threads_reaches_the_network(tmp_path, tiny_model, monkeypatch):
    from geodecloud.model import predictor

    asked = []
    load = predictor.load_predictor
    monkeypatch.setattr(
        predictor, "load_predictor", lambda spec, threads: asked.append(threads) or load(spec, 1)
    )
    src = write_scene(tmp_path / "in.tif", noise((3, 20, 20)))
    geodecloud.decloud_file(src, tmp_path / "o.tif", bands="1,2,3", threads=3, model=tiny_model)
    assert asked == [3]


# The dialog of QGIS, which declares its parameters itself: its Python has no geodecloud.


def _calls(name: str) -> dict[str, ast.Call]:
    """The calls in a module of the plugin that make parameters, by the parameter's name."""
    calls = {}
    for node in ast.walk(ast.parse((PLUGIN / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            maker = node.func.id if isinstance(node.func, ast.Name) else ""
            if maker in ("number", "choice") or maker.startswith("QgsProcessingParameter"):
                calls[node.args[0].value] = node
    return calls


def _constants(call: ast.Call) -> dict[str, typing.Any]:
    named = {one.arg: one.value for one in call.keywords}
    return {name: ast.literal_eval(one) for name, one in named.items() if _is_literal(one)}


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def _flags_of_the_dialog() -> dict[str, str]:
    """The option of each parameter of the dialog, as ``restoring.py`` declares them."""
    tree = ast.parse((PLUGIN / "restoring.py").read_text(encoding="utf-8"))
    (options,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "RESTORING"
    ]
    return ast.literal_eval(options)


def test_the_dialog_of_qgis_passes_on_options_that_exist():
    from typer.main import get_command

    from geodecloud.cli.main import app

    commands = get_command(app).commands
    for command in ("remove", "batch"):
        known = {flag for one in commands[command].params for flag in one.opts}
        hidden = {flag for one in commands[command].params if one.hidden for flag in one.opts}
        assert set(_flags_of_the_dialog().values()) <= known - hidden
    for path in PLUGIN.glob("*.py"):
        flags = {
            node.value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.startswith("--")
            and node.value != "--version"
        }
        every = {flag for one in commands.values() for p in one.params for flag in p.opts}
        assert flags <= every, path.name


@pytest.mark.parametrize("parameter", _flags_of_the_dialog())
def test_the_dialog_of_qgis_has_the_bounds_and_choices_of_the_settings(parameter):
    flag = _flags_of_the_dialog()[parameter]
    name = flag.removeprefix("--").replace("-", "_")
    part, field = FIELDS[name]
    option, call = option_of(field), _calls("restoring.py")[parameter]
    facts = _constants(call)
    low = option.minimum if option.minimum is not None else option.above
    assert facts.get("minValue") == low
    assert facts.get("maxValue") == option.maximum
    choices = choices_of(hints(part)[name])
    if choices:
        assert ast.literal_eval(call.args[2]) == list(choices)
        assert facts.get("defaultValue", field.default) == field.default


@pytest.mark.parametrize("flag", OPTIONS)
def test_the_dialog_of_qgis_has_the_texts_of_the_settings(flag):
    (one,) = [one for _, one in option_fields() if flag in flags_of(one.name, option_of(one))]
    option = option_of(one)
    default = "" if one.default in (None, False, ()) else str(one.default)
    assert OPTIONS[flag] == (option.help, option.shown_default or default)


def test_the_dialog_offers_the_clouds_that_the_program_simulates():
    assert tuple(CLOUDS) == cloud_kinds.CLOUDS


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("https://a.org/B04.tif?sig=secret", "https://a.org/B04.tif"),
        ("/vsicurl/https://a.org/B04.tif?sv=1&sig=secret", "/vsicurl/https://a.org/B04.tif"),
        ("vrt://scene.tif?bands=1,2,3", "vrt://scene.tif?bands=1,2,3"),
        ("what?.tif", "what?.tif"),
    ],
)
def test_the_signature_of_an_address_is_not_shown(name, shown):
    assert without_query(name) == shown
    facts = json.loads(Settings(mask=name, references=name).to_json())
    assert facts["mask"] == Path(shown).name
    assert facts["references"] == [Path(shown).name]


def test_names_of_files_are_texts_or_paths(scene, tmp_path, tiny_model):
    out = tmp_path / "out.tif"
    for run in (geodecloud.decloud_file, geodecloud.mask_file):
        for src in (None, 5, noise((3, 9, 9)), [1, 2, 3], b"in.tif"):
            with pytest.raises(UsageError, match=r"`src` is .*: give the path of a file"):
                run(src, out, model=tiny_model)
        for dst in (None, 5, ""):
            with pytest.raises(
                UsageError, match=r"`dst` is (None|5|empty): give the path of a file"
            ):
                run(scene, dst, model=tiny_model)
    bands = [write_scene(tmp_path / f"{band}.tif", noise((1, 40, 50))) for band in "RGB"]
    geodecloud.decloud_file(iter(bands), out, model=tiny_model)
    assert read(out).shape == (3, 40, 50)
