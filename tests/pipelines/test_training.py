"""The node that trains: the training part alone is seen, in this process or in several ranks."""

import pandas as pd
import pytest
from contexts import prepared_contexts

from synthome.models import worker
from synthome.models.registry import GeneratorSettings, from_state
from synthome.pipelines.training.nodes import train

OPTIONS = {"n_latent": 4, "n_hidden": 8, "training": {"max_epochs": 1, "steps_per_epoch": 2}}


@pytest.fixture(scope="module")
def prepared():
    return prepared_contexts(n_obs=400, n_vars=100)


def settings(ranks):
    architecture = {"generator": "cycle_ae", "options": OPTIONS}
    return GeneratorSettings.model_validate(
        {"architecture": "signed", "architectures": {"signed": architecture}, "ranks": ranks}
    )


def test_one_process_trains_here(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "train_in_ranks", lambda *_: pytest.fail("not asked for"))
    state, history = train(prepared, settings(1), tmp_path / "checkpoint.pt")
    n_train = int((prepared.obs["split"] == "train").sum())
    assert from_state(state).combination_cells.sum() == n_train
    assert len(history) == 1


def test_several_ranks_are_given_the_training_part(prepared, tmp_path, monkeypatch):
    seen = []
    answer = ({}, {}), pd.DataFrame()
    monkeypatch.setattr(worker, "train_in_ranks", lambda *of: seen.append(of) or answer)
    path = tmp_path / "checkpoint.pt"
    assert train(prepared, settings(3), path) is answer
    ((cells, given, checkpoint),) = seen
    assert set(cells.obs["split"]) == {"train"}
    assert not cells.is_view
    assert (given.ranks, checkpoint) == (3, path)
