"""A name that means nothing stops the run before anything is read."""

import pytest

from synthome.errors import InputError


def test_an_unknown_parameter_is_refused_with_the_nearest_name(tiny_project):
    with pytest.raises(InputError, match=r"'foldr'.*Did you mean 'folder'\?.*folder, mode"):
        tiny_project.run("alpha", foldr="x")
    assert not (tiny_project.path / "data").exists()


def test_a_parameter_that_a_file_asks_for_is_taken(tiny_project):
    tiny_project.run("alpha", folder=str(tiny_project.path / "elsewhere"))
    assert (tiny_project.path / "elsewhere" / "cohort.csv").exists()


def test_an_option_that_only_the_config_class_knows_is_taken(tiny_project):
    """learning_rate stands in no file; its class has a default for it."""
    tiny_project.run("alpha", alpha={"model": {"learning_rate": 0.5}})


def test_an_option_of_a_pipeline_that_does_not_run_is_taken(tiny_project):
    tiny_project.run("alpha", beta={"model": {"learning_rate": 0.5}})


def test_a_misspelt_block_is_refused(tiny_project):
    """Kedro would take it, and use the default of what was meant."""
    with pytest.raises(InputError, match="Did you mean 'alpha.model.n_latent'"):
        tiny_project.run("alpha", alpha={"modle": {"n_latent": 3}})


def test_an_unknown_environment_is_refused_with_the_nearest_name(tiny_project):
    with pytest.raises(InputError, match=r"'locl'.*Did you mean 'local'\?.*base, local"):
        tiny_project.run("alpha", env="locl")


def test_a_name_of_another_environment_is_unknown(tiny_project):
    tiny_project.write("conf/cohort/catalog.yml", "extra: {type: '${runtime_params:kind}'}\n")
    with pytest.raises(InputError, match="Unknown parameter 'kind'"):
        tiny_project.run("alpha", kind="MemoryDataset")
    tiny_project.run("alpha", env="cohort", kind="MemoryDataset")
