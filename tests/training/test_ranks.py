"""Two ranks do what one process of twice the batch size does."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from training.two_ranks import CASES, run

from synthome.errors import InputError
from synthome.training import ranks
from synthome.training.config import TrainingConfig
from synthome.training.loop import fit
from synthome.training.tissue_rows import TissueRows

SCRIPT = Path(__file__).with_name("two_ranks.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What one process found, and each of two ranks."""
    out = tmp_path_factory.mktemp("ranks")
    run(out)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    path = os.pathsep.join([str(SCRIPT.parents[1]), *sys.path])
    done = subprocess.run(
        [*command, str(SCRIPT), str(out)], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    names = ("0 of 1", "0 of 2", "1 of 2")
    return [dict(np.load(out / f"{name}.npz")) for name in names], out


@pytest.mark.parametrize("case", [*CASES, "stream"])
def test_two_ranks_take_the_steps_of_one_process(found, case):
    """In sparse rows and in a stream; and losses are means over the rows of both."""
    (alone, first, second), _ = found
    np.testing.assert_allclose(first[case], alone[case], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(first[case], second[case])
    history = f"{case} history"
    np.testing.assert_allclose(first[history], alone[history], rtol=1e-4)
    np.testing.assert_array_equal(first[history], second[history])
    assert alone[history][-1, 0] < alone[history][0, 0]


def test_each_rank_has_noise_of_its_own_and_all_end_alike(found):
    (alone, first, second), _ = found
    np.testing.assert_array_equal(first["noisy"], second["noisy"])
    assert np.abs(first["noisy"] - alone["noisy"]).max() > 1e-4


def test_ranks_that_were_killed_go_on_to_the_same_weights(found):
    """Each from its own checkpoint, with its own noise; nothing is left behind."""
    everyone, out = found
    for each in everyone:
        np.testing.assert_array_equal(each["resumed"], each["noisy"])
    assert not list(out.glob("killed*"))


def test_ranks_that_have_no_place_in_common_begin_again_together(found):
    """One lost its checkpoint: were the other to go on alone, each would wait for ever."""
    everyone, out = found
    for each in everyone:
        np.testing.assert_array_equal(each["from the start"], each["noisy"])
    assert not list(out.glob("apart*"))


def test_one_process_is_a_rank_of_one():
    assert ranks.is_same(3.0)
    assert (ranks.rank(), ranks.n_ranks()) == (0, 1)
    rows = torch.arange(7)
    assert ranks.own_part(rows) is rows
    assert ranks.own_device(torch.device("cpu")) == torch.device("cpu")


def test_ranks_have_disjoint_parts_of_the_same_size(monkeypatch):
    monkeypatch.setattr(ranks, "is_one_of_many", lambda: True)
    monkeypatch.setattr(ranks, "n_ranks", lambda: 3)
    parts = []
    for r in range(3):
        monkeypatch.setattr(ranks, "rank", lambda r=r: r)
        parts.append(ranks.own_part(torch.arange(11)).tolist())
    assert parts == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert ranks.own_device(torch.device("cuda")) == torch.device("cuda", 2)


def test_the_spots_of_a_tissue_are_not_dealt_to_ranks(monkeypatch):
    monkeypatch.setattr(ranks, "is_one_of_many", lambda: True)
    monkeypatch.setattr(ranks, "n_ranks", lambda: 2)
    spots = object.__new__(TissueRows)
    with pytest.raises(InputError, match="trained on together.*ranks=1"):
        fit(torch.nn.Linear(1, 1), [spots], TrainingConfig(), seed=0)
