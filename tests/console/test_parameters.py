"""A name in --params means something, or it is an error that offers the nearest one."""

import pytest

from synthome.console.parameters import (
    asked_names,
    declared_parameters,
    nearest,
    unknown_names,
    unknown_parameter,
)

CATALOG = """
raw:
  folder: ${runtime_params:cohort_dir}
  label: ${runtime_params:external_label,${runtime_params: label,null}}
table:
  filepath: data/${runtime_params:run.tag,main}/x.${runtime_params:format,csv}
"""
PATTERNS = ["parameters*", "parameters*/**", "**/parameters*"]


@pytest.fixture
def folders(tmp_path):
    base, env = tmp_path / "base", tmp_path / "cohort"
    (base / "parameters").mkdir(parents=True)
    env.mkdir()
    (base / "catalog.yml").write_text(CATALOG)
    (base / "parameters" / "model.yml").write_text("model: {n_latent: 8, options: null}\n")
    (env / "parameters.yml").write_text("model: {n_latent: 4}\nbulk: {split: {seed: 0}}\n")
    (env / "notes.md").write_text("${runtime_params:not_config}")
    return [base, env]


def test_names_are_read_where_the_configuration_asks_for_them(folders):
    """True marks a name that has no default and must be given."""
    assert asked_names(folders) == {
        "cohort_dir": True,
        "external_label": False,
        "label": False,
        "run.tag": False,
        "format": False,
    }


def test_parameters_of_both_environments_are_merged(folders):
    assert declared_parameters(folders, PATTERNS) == {
        "model": {"n_latent": 4, "options": None},
        "bulk": {"split": {"seed": 0}},
    }


@pytest.mark.parametrize(
    ("given", "unknown"),
    [
        ({"cohort_dir": "x", "label": "y"}, []),
        ({"run": {"tag": "x"}}, []),
        ({"model": {"n_latent": 3}}, []),
        ({"model": {"options": {"anything": 1}}}, []),  # below an entry that is not a block
        ({"cohrt_dir": "x"}, ["cohrt_dir"]),
        ({"model": {"n_latnt": 3}}, ["model.n_latnt"]),
        ({"bulk": {"split": {"sed": 1, "seed": 2}}}, ["bulk.split.sed"]),
    ],
)
def test_only_names_that_nothing_reads_are_unknown(folders, given, unknown):
    declared = declared_parameters(folders, PATTERNS)
    assert unknown_names(given, asked_names(folders), declared) == unknown


def test_a_config_class_judges_its_own_options(folders):
    """The files need not repeat the defaults of a class."""
    declared = declared_parameters(folders, PATTERNS)
    given = {"model": {"n_hidden": 3}, "models": {"n_hidden": 3}}
    assert unknown_names(given, [], declared, {"model"}) == ["models.n_hidden"]


def test_the_error_names_the_nearest_and_all_short_names(folders):
    declared = declared_parameters(folders, PATTERNS)
    error = unknown_parameter("cohrt_dir", asked_names(folders), declared)
    assert "'cohrt_dir'" in str(error)
    assert "Did you mean 'cohort_dir'?" in str(error)
    assert "cohort_dir, external_label, format, label, run.tag" in str(error)
    assert "such as model.options." in str(error)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("lable", "label"), ("dir", "cohort_dir"), ("zzz", ""), ("", "")],
)
def test_the_nearest_name_is_offered_only_when_it_is_near(name, hint):
    found = nearest(name, ["cohort_dir", "label", "group"])
    assert found == (f" Did you mean {hint!r}?" if hint else "")
