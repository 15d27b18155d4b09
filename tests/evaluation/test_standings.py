"""One row and one set of scores per generator, with the references as its other arms."""

import numpy as np
import pandas as pd
import pytest

from synthome.evaluation.standings import standings, wide_table
from synthome.models.registry import Architecture

NAMES = ("real", "independent_noise", "copies", "normal", "gan", "counts")
VALUES = dict(zip(NAMES, (0.9, 0.6, 0.7, 0.8, 0.5, 0.4), strict=True))
FAILED = {("gan", 1): "NaN in the draws.", ("counts", 0): "No counts.", ("counts", 1): "No counts."}


@pytest.fixture
def tables():
    """Two folds; gan fails in the second, and counts does not apply."""
    scores, attacks, runs = [], [], []
    for name in NAMES:
        for fold in (0, 1):
            reason = FAILED.get((name, fold), "")
            bad = "not applicable" if name == "counts" else "failed"
            cost = (np.nan,) * 5 if reason else (1.0, 2.0, 0.5, 1.0, 300.0 + fold)
            runs.append((name, 0, fold, bad if reason else "ok", reason, *cost, 60))
            if reason:
                continue
            value = VALUES[name] + 0.02 * fold
            scores.append((name, 0, fold, "utility/tstr_auc", value, 20, 10))
            for sample in range(20):
                told = (sample % 10) / 10 + (sample >= 10) * (name == "copies")
                attacks.append((name, 0, fold, "nearest", sample, "x", sample >= 10, told))
    place = ["generator", "repeat", "fold"]
    costs = ["fit_cpu", "fit_wall", "sample_cpu", "sample_wall", "peak_megabytes"]
    return (
        pd.DataFrame(scores, columns=[*place, "metric", "value", "n_train", "n_test"]),
        pd.DataFrame(attacks, columns=[*place, "attack", "sample", "label", "member", "score"]),
        pd.DataFrame(runs, columns=[*place, "status", "reason", *costs, "n_genes"]),
    )


@pytest.fixture
def found(tables):
    made = {
        "normal": Architecture(generator="class_normal", options={"noise": 0.5}),
        "gan": Architecture(generator="gan"),
        "counts": Architecture(generator="dp_vae", options={"epsilon": 3}),
    }
    return standings(*tables, made)


def test_references_are_the_other_arms_of_every_generator(found):
    for name in ("normal", "copies", "real"):
        entry = found[name]["metrics"]["utility/tstr_auc"]
        assert entry["value"] == pytest.approx(VALUES[name] + 0.01)
        assert entry["ceiling"] == pytest.approx(0.91)
        assert entry["floor"] == pytest.approx(0.61)
        assert entry["cheat"] == pytest.approx(0.71)
    attack = found["normal"]["metrics"]["privacy/nearest_auc"]
    assert (attack["value"], attack["cheat"]) == (0.5, 1.0)


def test_status_reason_and_costs(found):
    assert [found[name]["status"] for name in NAMES] == ["ok"] * 4 + ["failed", "not applicable"]
    assert found["gan"]["reason"] == "NaN in the draws."
    assert found["gan"]["n_folds"] == 1
    assert found["gan"]["metrics"]["utility/tstr_auc"]["value"] == 0.5  # of the fold that went well
    assert found["normal"]["seconds"] == 3.0
    assert found["normal"]["seconds_wall"] == 6.0
    assert found["normal"]["peak_megabytes"] == 301.0
    assert found["counts"]["seconds"] is None
    assert found["counts"]["metrics"] == {}
    assert found["normal"]["options"] == {"covariance": "empirical", "noise": 0.5}
    assert found["real"]["options"] == {}


def test_the_table_has_a_row_for_each_and_three_columns_for_a_score(found):
    table = wide_table(found).set_index("generator")
    assert table.index.tolist() == list(NAMES)
    key = "utility/tstr_auc"
    low, high = found["normal"]["metrics"][key]["interval"]
    row = table.loc["normal"]
    assert (row[key], row[f"{key}.low"], row[f"{key}.high"]) == (pytest.approx(0.81), low, high)
    assert row["architecture"] == "class_normal"
    assert np.isnan(table.loc["counts", key])
    assert {"status", "reason", "seconds", "n_folds"} <= set(table.columns)
    assert table.loc["counts", "epsilon"] == 3.0  # private, whatever came of it
    assert table["epsilon"].isna().sum() == len(NAMES) - 1
