"""Training in ranks: a model as of one process, and failures that say what is wrong."""

import pandas as pd
import pytest
from contexts import part_of, prepared_contexts

from synthome.errors import InputError
from synthome.models.registry import GeneratorSettings, from_state
from synthome.models.worker import train_in_ranks

OPTIONS = {"n_latent": 4, "n_hidden": 8, "training": {"max_epochs": 2, "batch_size": 64}}


def settings(ranks=2, **options):
    architecture = {"generator": "cycle_ae", "options": OPTIONS | options}
    return GeneratorSettings.model_validate(
        {"architecture": "signed", "architectures": {"signed": architecture}, "ranks": ranks}
    )


@pytest.fixture(scope="module")
def cells():
    return prepared_contexts(n_obs=600, n_vars=100)


def test_two_ranks_train_a_generator(cells, tmp_path, capfd):
    """As well as one process does, with half the batch size; and leave nothing behind."""
    train, fresh = part_of(cells, "train"), part_of(cells, "test")
    state, history = train_in_ranks(train, settings(), tmp_path / "run" / "checkpoint.pt")
    model = from_state(state)
    assert model.name == "cycle_ae"
    alone = settings().build().fit(train)
    pd.testing.assert_frame_equal(history[["epoch"]], alone.history[["epoch"]])
    nll = [each.cell_scores(fresh)["nll"].mean() for each in (model, alone)]
    assert nll[0] != nll[1]
    assert nll[0] == pytest.approx(nll[1], abs=0.5)
    assert list((tmp_path / "run").iterdir()) == []


def test_what_a_rank_refuses_is_said_once_and_clearly(cells, tmp_path):
    train = part_of(cells, "train")
    del train.layers["counts"]
    with pytest.raises(InputError, match="^cycle_ae models counts") as caught:
        train_in_ranks(train, settings(), tmp_path / "checkpoint.pt")
    assert "Traceback" not in str(caught.value)


def test_a_rank_that_fails_is_told(cells, tmp_path):
    """Diverged, with a rate that no training survives."""
    wild = OPTIONS["training"] | {"learning_rate": 1e30, "max_grad_norm": None}
    with pytest.raises(RuntimeError, match="in 2 ranks failed: .*[Dd]iverge"):
        train_in_ranks(part_of(cells, "train"), settings(training=wild), tmp_path / "checkpoint.pt")
