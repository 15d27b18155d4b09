"""A change is carried from types to a type: by latents where they hold it, else by residuals."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from synthome.evaluation import conditional_shift as module
from synthome.evaluation.conditional_shift import (
    ConditionalShiftConfig,
    conditional_shift,
)

N_VARS, N_CELLS = 80, 600
CONFIG = ConditionalShiftConfig(n_deals=2, n_components=5)
GENES = np.random.default_rng(99)
W = GENES.normal(0, 0.5, (N_VARS, 3))
B = GENES.normal(0, 0.8, N_VARS)
THETA = np.full(N_VARS, 4.0)


def setting(step=0.0, fold=None, n_cells=N_CELLS, seed=0):
    """Three types that differ in their latents; ``up`` moves latents, or multiplies genes."""
    rng = np.random.default_rng(seed)
    types = np.array(["a", "b", "c"])[np.arange(n_cells) % 3]
    centre = np.array([[1.2, 0, 0], [-1.2, 0.5, 0], [0, -1.2, 0.5]])[np.arange(n_cells) % 3]
    z = centre + 0.3 * rng.standard_normal((n_cells, 3))
    size = 300.0 * rng.lognormal(0, 0.2, n_cells)

    def mu_of(z, size):
        rho = np.exp(z @ W.T + B)
        return size[:, None] * rho / rho.sum(axis=1, keepdims=True)

    def draw(mu):
        return rng.poisson(mu * rng.gamma(THETA, 1 / THETA, mu.shape)).astype(float)

    moved = z + np.array([0, 0, step])
    counts = np.concatenate(
        [draw(mu_of(z, size)), draw(mu_of(moved, size) * (1.0 if fold is None else fold))]
    )
    obs = pd.DataFrame(
        {
            "cell_type": np.tile(types, 2),
            "condition": np.repeat(["base", "up"], n_cells),
            "twin": np.tile(np.arange(n_cells), 2),
            "library_size": counts.sum(axis=1),
        },
        index=[f"c{i}" for i in range(2 * n_cells)],
    )
    counts = sparse.csr_matrix(counts)
    twins = AnnData(
        counts,
        obs=obs,
        var=pd.DataFrame(index=[f"g{j}" for j in range(N_VARS)]),
        layers={"counts": counts},
        uns={"synthome": {"label_key": "cell_type", "scale": "counts"}},
    )
    both = np.tile(size, 2)
    return (
        twins,
        np.concatenate([z, moved]),
        lambda latents, rows: mu_of(latents, both[rows]),
        THETA,
    )


def r2(table):
    return table.groupby("method")["weighted_delta_r2"].mean()


def test_a_shift_of_the_latents_is_carried_by_the_latents():
    found = r2(conditional_shift(*setting(step=1.5), CONFIG))
    assert found["no_change"] == pytest.approx(0.0, abs=0.15)
    assert found["latents"] > found["additive"]
    assert found["latents"] == pytest.approx(found["ceiling"], abs=0.03)
    assert found["latents+residuals"] == pytest.approx(found["latents"], abs=0.02)
    assert found["mean_of_perturbed"] < found["additive"]


def test_a_change_of_single_genes_is_carried_by_the_residuals():
    fold = np.where(np.arange(N_VARS) < 8, 2.5, np.where(np.arange(N_VARS) < 16, 0.4, 1.0))
    table = conditional_shift(*setting(fold=fold), CONFIG)
    found = r2(table)
    assert found["latents"] == pytest.approx(found["no_change"], abs=0.05)
    assert found["latents+residuals"] > found["additive"]
    assert found["latents+residuals"] > found["ceiling"] - 0.08
    distance = table.groupby("method")["e_distance"].mean()
    assert distance["latents+residuals"] < 0.5 * distance["no_change"]
    assert abs(distance["ceiling"]) < 0.5 * distance["no_change"]


def test_the_table_has_a_row_for_each_type_and_method():
    table = conditional_shift(*setting(step=1.0), CONFIG)
    assert len(table) == 3 * 6
    assert set(table["cell_type"]) == {"a", "b", "c"}
    assert (table["n_cells"] == 50).all()
    assert (table["n_changed"] > 0).all()
    assert (table["weighted_delta_r2_sd"] >= 0).all()
    again = conditional_shift(*setting(step=1.0), CONFIG)
    pd.testing.assert_frame_equal(again, table)


def test_components_are_those_of_other_types(monkeypatch):
    twins, z, decode, theta = setting(step=1.0, n_cells=240)
    seen = []
    components = module._components

    def spy(x, config):
        seen.append(len(x))
        return components(x, config)

    monkeypatch.setattr(module, "_components", spy)
    twins.obs["cell_type"] = np.tile(np.repeat(["a", "b", "c"], [60, 80, 100]), 2)
    conditional_shift(twins, z, decode, theta, CONFIG)
    assert seen == [180, 160, 140]


def test_all_sets_of_cells_are_disjoint_and_the_target_teaches_nothing(monkeypatch):
    twins, z, decode, theta = setting(step=1.0)
    twin, types = twins.obs["twin"].to_numpy(), twins.obs["cell_type"].to_numpy(str)
    condition = twins.obs["condition"].to_numpy(str)
    seen = []

    def spy(cells, start, other_true, sources, rng):
        groups = [start, other_true, *(rows for pair in sources for rows in pair)]
        used = np.concatenate([twin[rows] for rows in groups])
        assert len(used) == len(set(used))
        assert set(condition[start]) == {"base"}
        assert set(condition[other_true]) == {"up"}
        target = set(types[start]) | set(types[other_true])
        assert len(target) == 1
        for a, b in sources:
            assert set(condition[a]) == {"base"}
            assert set(condition[b]) == {"up"}
            assert not target & set(types[np.concatenate([a, b])])
        seen.append(target)
        yield "no_change", cells.x[start].toarray()

    monkeypatch.setattr(module, "_predictions", spy)
    conditional_shift(twins, z, decode, theta, CONFIG)
    assert len(seen) == 3 * 2


def test_the_order_of_rows_does_not_matter():
    twins, z, decode, theta = setting(step=1.0, n_cells=240)
    order = np.random.default_rng(0).permutation(twins.n_obs)
    one = conditional_shift(twins, z, decode, theta, CONFIG)
    shuffled = twins[order].copy()
    other = conditional_shift(
        shuffled, z[order], lambda own, rows: decode(own, order[rows]), theta, CONFIG
    )
    exact = one["method"].isin(["no_change", "additive", "ceiling"])
    pd.testing.assert_frame_equal(one[exact], other[exact])


def test_types_that_are_too_rare_leave_no_rows_and_a_word(caplog):
    table = conditional_shift(*setting(), ConditionalShiftConfig(min_cells=100))
    assert table.empty
    assert table["weighted_delta_r2"].dtype == float
    assert "two types with 400 held-out cells, and 0 of 3 have them" in caplog.text
