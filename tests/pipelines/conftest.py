"""Projects in which a system ran once, for all tests that look at it, and one in which none did."""

from pathlib import Path

import pytest
from project_copy import copy_project, run

N_TREES, N_STEPS = 4, 20  # enough to see that wiring is right


def _finish(folder: Path, system: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHOME_TRACKING", "off")
        patch.setattr("synthome.evaluation.classifiers.N_TREES", N_TREES)
        patch.setattr("synthome.evaluation.classifiers.NETWORK_STEPS", N_STEPS)
        return run(copy_project(folder), system)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A project in which rare_vae ran."""
    return _finish(tmp_path_factory.mktemp("finished"), "rare_vae")


@pytest.fixture(scope="session")
def finished_ldvae(tmp_path_factory) -> Path:
    """A project in which ldvae ran."""
    return _finish(tmp_path_factory.mktemp("finished_ldvae"), "ldvae")


@pytest.fixture(scope="session")
def finished_spatial_gvae(tmp_path_factory) -> Path:
    """A project in which spatial_gvae ran."""
    return _finish(tmp_path_factory.mktemp("finished_spatial_gvae"), "spatial_gvae")


@pytest.fixture(scope="session")
def finished_cycle_ae(tmp_path_factory) -> Path:
    """A project in which cycle_ae ran."""
    return _finish(tmp_path_factory.mktemp("finished_cycle_ae"), "cycle_ae")


@pytest.fixture(scope="session")
def finished_omics_lm(tmp_path_factory) -> Path:
    """A project in which omics_lm ran."""
    return _finish(tmp_path_factory.mktemp("finished_omics_lm"), "omics_lm")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project in which nothing ran yet."""
    monkeypatch.setenv("SYNTHOME_TRACKING", "off")
    monkeypatch.setattr("synthome.evaluation.classifiers.N_TREES", N_TREES)
    return copy_project(tmp_path)
