"""Power rises with the dose from 5 %, and the smallest dose is where it crosses 80 %."""

import logging

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from synthome.evaluation.detection import (
    DetectionConfig,
    Perturbed,
    detection_power,
    dose_at,
    false_alarms,
    smallest_detectable_dose,
)

GENES = [f"g{j}" for j in range(40)]
SETS = {"als": Perturbed("down", GENES[:10]), "hd": Perturbed("up", GENES[10:20])}
FAST = {"n_cells": 20, "n_repeats": 40, "n_null_repeats": 200, "n_permutations": 39}


def cells(sizes=None, seed=0) -> AnnData:
    rng = np.random.default_rng(seed)
    sizes = sizes or {"neuron": 80, "glia": 50}
    types = np.repeat(list(sizes), list(sizes.values()))
    counts = sparse.csr_matrix(rng.poisson(2.0, (len(types), 40)).astype(np.float64))
    obs = pd.DataFrame({"cell_type": types}, index=[f"c{i}" for i in range(len(types))])
    return AnnData(
        counts,
        obs=obs,
        var=pd.DataFrame(index=GENES),
        layers={"counts": counts},
        uns={"synthome": {"label_key": "cell_type", "group_key": "", "scale": "counts"}},
    )


def view(adata):
    """The sums of the two sets, and a view that shows nothing of them."""
    x = adata.layers["counts"].toarray()
    sums = np.stack([x[:, :10].sum(axis=1), x[:, 10:20].sum(axis=1)], axis=1)
    return {"sums": (sums,), "blind": (x[:, 20:],)}


@pytest.fixture(scope="module")
def power():
    config = DetectionConfig(doses=(1.0, 1.25, 2.0, 4.0), **FAST)
    return detection_power(cells(), SETS, view, config)


def test_power_rises_from_the_level_to_one_where_something_can_be_seen(power):
    table = power.pivot_table(
        index=["cell_type", "gene_set"], columns=["representation", "dose"], values="power"
    )
    assert (table["sums", 1.0] < 0.12).all()
    assert (table["sums", 4.0] == 1.0).all()
    assert (table["sums", 1.25] < table["sums", 2.0]).all()
    assert (table["blind"] < 0.3).all(axis=None)
    assert (power["n_cells"] == 20).all()
    assert ((power["low"] <= power["power"]) & (power["power"] <= power["high"])).all()


def test_false_alarms_are_five_percent(power):
    alarms = false_alarms(power).set_index("representation")
    assert (alarms["n_repeats"] == 400).all()  # two types; the sets share what is unperturbed
    assert (alarms["low"] <= 0.05).all()
    assert (alarms["high"] >= 0.05).all()
    assert alarms["share"].between(0.02, 0.08).all()


def test_samples_are_different_cells(monkeypatch):
    """A view that shows the number of a cell: no cell may meet its own twin."""
    import synthome.evaluation.detection as module

    seen = []

    def watched(kernel, *args):
        seen.append(np.round(np.diagonal(kernel, axis1=1, axis2=2), 6))
        return np.ones(len(kernel))

    monkeypatch.setattr(module, "two_sample_p_values", watched)
    monkeypatch.setattr(module, "block_kernel", lambda blocks: np.diag(blocks[0][:, 0]))
    monkeypatch.setattr(
        module, "_standardised", lambda base, other: np.concatenate([base, 1000 + other])
    )
    number = lambda adata: {"n": (np.arange(adata.n_obs, dtype=float)[:, None] % 1000,)}  # noqa: E731
    config = DetectionConfig(doses=(1.0, 2.0), **FAST)
    detection_power(cells(), {"als": SETS["als"]}, number, config)
    for drawn in np.concatenate(seen):
        control, changed = drawn[:20], drawn[20:]
        assert (control < 1000).all()
        assert (changed >= 1000).all()
        assert len(set(control) | set(changed - 1000)) == 40


def test_the_same_seed_gives_the_same_power(power):
    config = DetectionConfig(doses=(1.0, 1.25, 2.0, 4.0), **FAST)
    pd.testing.assert_frame_equal(detection_power(cells(), SETS, view, config), power)


def test_rare_types_are_left_out_with_a_word_and_no_rows_are_left_when_all_are(caplog):
    config = DetectionConfig(doses=(1.0, 3.0), **FAST)
    with caplog.at_level(logging.WARNING):
        table = detection_power(cells({"neuron": 60, "opc": 12}), SETS, view, config)
    assert set(table["cell_type"]) == {"neuron"}
    assert "opc (12)" in caplog.text
    nothing = detection_power(cells({"opc": 12}), SETS, view, config)
    assert nothing.empty
    assert nothing.dtypes[["dose", "power"]].eq(float).all()
    assert smallest_detectable_dose(nothing).empty
    assert false_alarms(nothing).empty


def test_the_smallest_dose_lies_on_a_line_in_the_logarithm_of_the_dose():
    dose = np.array([1.0, 2.0, 4.0, 8.0])
    weights = np.full(4, 40)
    assert dose_at(dose, np.array([0.05, 0.3, 0.8, 1.0]), weights, 0.8) == pytest.approx(4.0)
    halfway = dose_at(dose, np.array([0.05, 0.6, 1.0, 1.0]), weights, 0.8)
    assert halfway == pytest.approx(np.sqrt(2.0 * 4.0))
    assert np.isnan(dose_at(dose, np.array([0.05, 0.1, 0.2, 0.79]), weights, 0.8))
    assert dose_at(dose, np.full(4, 0.9), weights, 0.8) == 1.0


def test_a_power_that_falls_by_chance_is_levelled_out():
    """0.9 then 0.7 is 0.8 at both of equal weight: reached at the first of them."""
    dose = np.array([1.0, 2.0, 4.0, 8.0])
    power = np.array([0.0, 0.9, 0.7, 1.0])
    assert dose_at(dose, power, np.full(4, 40), 0.8) == pytest.approx(2.0)


@given(powers=st.lists(st.integers(0, 40), min_size=2, max_size=8))
@settings(deadline=None, max_examples=50)
def test_more_power_is_no_larger_dose(powers):
    dose = np.geomspace(1.0, 10.0, len(powers))
    weights = np.full(len(powers), 40)
    power = np.array(powers) / 40
    found = dose_at(dose, power, weights, 0.8)
    better = dose_at(dose, np.minimum(power + 0.1, 1.0), weights, 0.8)
    assert np.isnan(found) or better <= found + 1e-9


def test_a_dose_has_an_interval_that_may_not_end():
    rows = [
        ("neuron", "hd", "down", d, r, 20, 40, p, 0.0, 1.0)
        for r, powers in (("seen", (0.0, 0.0, 1.0)), ("hardly", (0.05, 0.3, 0.8)))
        for d, p in zip((1.0, 2.0, 4.0), powers, strict=True)
    ]  # none or all of 40 repeats is not never or always
    columns = ["cell_type", "gene_set", "direction", "dose", "representation"]
    table = pd.DataFrame(rows, columns=[*columns, "n_cells", "n_repeats", "power", "low", "high"])
    found = smallest_detectable_dose(table).set_index("representation")
    seen, hardly = found.loc["seen"], found.loc["hardly"]
    assert 2.0 < seen["low"] < seen["dose"] < seen["high"] < 4.0
    assert hardly["dose"] == pytest.approx(4.0)
    assert np.isnan(hardly["high"])


def test_a_dose_below_one_is_refused():
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        DetectionConfig(doses=(0.5,))
