from itertools import product

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import sparse

from synthome.errors import InputError
from synthome.simulate.contexts import (
    DEPTH,
    FIELDS,
    ContextsConfig,
    simulate_contexts,
    true_log_rate,
)

SMALL = ContextsConfig(n_obs=2400, n_vars=250, donor_effect=0.3)  # so that donors are seen
REFERENCE = {field: names[0] for field, names in FIELDS.items()}


@pytest.fixture(scope="module")
def contexts() -> AnnData:
    return simulate_contexts()


@pytest.fixture(scope="module")
def small() -> AnnData:
    return simulate_contexts(SMALL)


@pytest.fixture(scope="module")
def many() -> AnnData:
    """Many cells of few combinations, so that effects are seen well."""
    return simulate_contexts(ContextsConfig(n_obs=8000, n_vars=400, n_types=2, n_assays=2))


def totals(adata: AnnData) -> np.ndarray:
    return np.asarray(adata.X.sum(axis=1)).ravel()


def combinations(truth) -> list[dict[str, str]]:
    effects = truth["effects"]
    names = product(*(map(str, effects[field]["categories"]) for field in FIELDS))
    return [dict(zip(FIELDS, combination, strict=True)) for combination in names]


def cells_of(adata: AnnData, combination: dict[str, str]) -> np.ndarray:
    return np.all([adata.obs[field] == name for field, name in combination.items()], axis=0)


def composition(adata: AnnData, combination: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Counts over depth, and their standard error, gene by gene: no model but a ratio."""
    rows = cells_of(adata, combination)
    depth = adata.uns["truth"]["library_size"][rows]
    counts = adata.X[rows].toarray()
    rate = counts.sum(axis=0) / depth.sum()
    residual = counts - rate * depth[:, None]
    return rate, np.sqrt(np.square(residual).sum(axis=0)) / depth.sum()


def log_composition(adata: AnnData, combination: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    rate, error = composition(adata, combination)
    return np.log(rate), error / rate


def main_effect(truth, field: str) -> np.ndarray:
    return truth["effects"][field]["effect"]


def test_the_default_data_are_what_cells_look_like(contexts):
    """Whole counts in sparse storage, of which no gene takes a large part."""
    assert contexts.shape == (5000, 2000)
    assert isinstance(contexts.X, sparse.csr_matrix)
    assert contexts.X.dtype == np.float32
    assert (contexts.X.data == np.rint(contexts.X.data)).all()
    assert (contexts.X.data > 0).all()
    assert (contexts.layers["counts"] != contexts.X).nnz == 0
    assert list(contexts.obs) == [*FIELDS, "donor"]
    assert contexts.X.sum(axis=0).max() < 0.02 * contexts.X.sum()


def test_every_combination_is_there_in_unequal_numbers(contexts):
    """Some are rare, as in real tables, but all can be held out and scored."""
    sizes = contexts.obs[list(FIELDS)].value_counts()
    assert len(sizes) == 5 * 3 * 2
    assert sizes.min() >= 40
    assert sizes.min() < 0.025 * contexts.n_obs < 0.06 * contexts.n_obs < sizes.max()


def test_a_donor_has_one_condition_and_gives_cells_to_all_its_combinations(contexts):
    """Donors can be kept together, and no effect of a donor hides in a combination."""
    obs = contexts.obs
    assert obs["donor"].nunique() == 12
    assert (obs.groupby("donor")["condition"].nunique() == 1).all()
    for _, donors in obs.groupby(list(FIELDS))["donor"]:
        sizes = donors.value_counts()
        assert len(sizes) == 6
        assert sizes.max() - sizes.min() <= 1


def test_provenance_names_what_later_steps_ask_for(contexts):
    """The fields travel with the cells, beside the keys that all cohorts have."""
    facts = contexts.uns["synthome"]
    keys = {"label_key": "cell_type", "group_key": "", "batch_key": "", "scale": "counts"}
    assert {key: facts[key] for key in keys} == keys
    assert facts["source"] == "simulated contexts (seed 0)"
    assert facts["field_keys"] == ["cell_type", "assay", "condition"]
    assert len(facts["sha256"]) == 64


def test_assays_differ_in_depth(contexts):
    """A model that mistakes depth for expression is to be found out."""
    depth = pd.Series(totals(contexts)).groupby(contexts.obs["assay"].to_numpy()).median()
    ratio = depth[list(FIELDS["assay"][:3])] / depth[FIELDS["assay"][0]]
    np.testing.assert_allclose(ratio, DEPTH[:3], rtol=0.05)


def test_mean_and_variance_of_a_gene_follow_the_law_cell_by_cell(small):
    """Eqs. 1 to 6 from the stored truth alone: var = mu + mu^2 / theta around mu = l softmax."""
    truth, obs = small.uns["truth"], small.obs
    donors, programs, pair = truth["donors"], truth["programs"], truth["interaction"]
    in_pair = np.isin(truth["gene"], pair["genes"])
    eta = np.tile(truth["base"], (small.n_obs, 1))
    for i, cell in enumerate(obs.to_dict("records")):
        for field in FIELDS:
            eta[i] += main_effect(truth, field)[FIELDS[field].index(cell[field])]
        if (cell["cell_type"], cell["condition"]) == ("B cell", "disease"):
            eta[i, in_pair] += pair["effect"]
        eta[i] += donors["effect"][list(donors["categories"]).index(cell["donor"])]
        for w, a in zip(programs["loading"], programs["activity"][i], strict=True):
            eta[i] += a * w - w**2 / 2
    rho = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    mu = truth["library_size"][:, None] * rho
    deviation = (small.X.toarray() - mu) / np.sqrt(mu + mu**2 / truth["theta"])
    assert np.abs(deviation.mean(axis=0)).max() < 4.5 / np.sqrt(small.n_obs)
    assert abs((deviation**2).mean() - 1) < 0.02
    assert np.abs((deviation**2).mean(axis=0) - 1).max() < 0.5  # heavy tails: one gene varies
    rates = [np.exp(true_log_rate(truth, combination)) for combination in combinations(truth)]
    trend = SMALL.extra_poisson / (SMALL.library_size * np.mean(rates, axis=0))
    np.testing.assert_allclose(1 / truth["theta"], SMALL.dispersion + trend, rtol=1e-10)


def test_mean_counts_of_a_combination_are_the_library_size_times_the_true_rate(contexts):
    """Programmes and donors are 1 on average: ``true_log_rate`` is what counts follow."""
    truth, z = contexts.uns["truth"], []
    for combination in combinations(truth):
        seen, error = composition(contexts, combination)
        expected = np.exp(true_log_rate(truth, combination))
        depth = truth["library_size"][cells_of(contexts, combination)].sum()
        enough = expected * depth > 100  # counts, so that the error is well known
        z.append((seen - expected)[enough] / error[enough])
        assert (seen / expected)[enough].mean() == pytest.approx(1, abs=0.02)
    z = np.concatenate(z)
    assert abs(z.mean()) < 0.1
    assert z.std() == pytest.approx(1, abs=0.1)


def test_planted_effects_come_back_from_plain_log_ratios(many):
    """Each category against the reference, nothing but the ratio of mean counts."""
    truth = many.uns["truth"]
    reference, error = log_composition(many, REFERENCE)
    for field in FIELDS:
        other = REFERENCE | {field: FIELDS[field][1]}
        seen, other_error = log_composition(many, other)
        planted = main_effect(truth, field)[1]
        z = (seen - reference - planted) / np.hypot(error, other_error)
        assert z.std() == pytest.approx(1, abs=0.15)
        slope = (seen - reference) @ planted / (planted @ planted)
        assert slope == pytest.approx(1, abs=0.03)


def test_what_is_planted_is_up_and_down_and_on_few_genes(contexts):
    """A model whose heads cannot lower a gene has to fail here."""
    truth = contexts.uns["truth"]
    shares = {"cell_type": (400, 200), "assay": (150, 150), "condition": (80, 80)}
    for field, (n_up, n_down) in shares.items():
        reference, *others = main_effect(truth, field)
        assert not reference.any()
        for effect in others:
            assert ((effect > 0).sum(), (effect < 0).sum()) == (n_up, n_down)
            size = np.abs(effect[effect != 0])
            assert np.log(2) <= size.min() < np.log(2.1) < np.log(5.9) < size.max() <= np.log(6)


def test_what_goes_down_can_be_seen(contexts):
    """Genes that fall have counts to lose in the reference, and lose them in the cells drawn."""
    truth = contexts.uns["truth"]
    reference, _ = composition(contexts, REFERENCE)
    for field in FIELDS:
        for name, planted in zip(FIELDS[field][1:], main_effect(truth, field)[1:], strict=False):
            seen, _ = composition(contexts, REFERENCE | {field: name})
            down, still = planted < 0, planted == 0
            assert np.median(5000 * np.exp(truth["base"][down])) > 2
            assert (seen < reference)[down].mean() > 0.97
            assert np.median(seen[still] / reference[still]) == pytest.approx(1, abs=0.03)


def test_a_combination_differs_from_the_reference_by_its_effects_and_nothing_else(contexts):
    """Balance: a softmax shifts all genes, so without it unaffected ones would seem to fall."""
    truth = contexts.uns["truth"]
    assert np.exp(truth["base"]).sum() == pytest.approx(1)
    for combination in combinations(truth):
        planted = sum(
            main_effect(truth, field)[FIELDS[field].index(name)]
            for field, name in combination.items()
        )
        rate = true_log_rate(truth, combination, interaction=False)
        assert np.exp(rate).sum() == pytest.approx(1)
        shift = rate - truth["base"] - planted
        assert np.ptp(shift) < 1e-9
        assert abs(shift.mean()) < 0.02


def test_exactly_one_combination_of_type_and_condition_is_more_than_its_parts(contexts):
    """And its genes change nowhere else."""
    truth = contexts.uns["truth"]
    pair = truth["interaction"]
    assert dict(zip(pair["fields"], pair["categories"], strict=True)) == {
        "cell_type": "B cell", "condition": "disease",
    }  # fmt: skip
    genes = np.isin(truth["gene"], pair["genes"])
    assert genes.sum() == len(pair["effect"]) == 40
    assert ((pair["effect"] > 0).sum(), (pair["effect"] < 0).sum()) == (20, 20)
    assert not any(main_effect(truth, field)[:, genes].any() for field in FIELDS)
    for combination in combinations(truth):
        alone = true_log_rate(truth, combination, interaction=False)
        added = true_log_rate(truth, combination) - alone
        if (combination["cell_type"], combination["condition"]) == ("B cell", "disease"):
            np.testing.assert_allclose(added[genes], pair["effect"], atol=0.03)
            assert np.abs(added[~genes]).max() < 0.03
        else:
            assert not added.any()


def test_the_interaction_is_a_difference_of_differences_in_the_counts(many):
    """What no sum of fields can explain is in the cells as drawn, gene by gene."""
    truth = many.uns["truth"]
    at = {
        (t, c): log_composition(many, REFERENCE | {"cell_type": t, "condition": c})
        for t, c in product(FIELDS["cell_type"][:2], FIELDS["condition"][:2])
    }
    means, errors = ([found[k] for found in at.values()] for k in range(2))
    seen = means[0] - means[1] - means[2] + means[3]
    planted = np.zeros(many.n_vars)
    planted[np.isin(truth["gene"], truth["interaction"]["genes"])] = truth["interaction"]["effect"]
    z = (seen - planted) / np.sqrt(np.square(errors).sum(axis=0))
    assert z.std() == pytest.approx(1, abs=0.15)
    assert np.corrcoef(seen[planted != 0], planted[planted != 0])[0, 1] > 0.95


def test_without_interaction_the_fields_do_the_same_and_nothing_is_left_over(small):
    """So that two data sets differ by the interaction and by nothing else that matters."""
    off = simulate_contexts(SMALL.model_copy(update={"interaction": False})).uns["truth"]
    assert len(off["interaction"]["genes"]) == len(off["interaction"]["effect"]) == 0
    for field in FIELDS:
        np.testing.assert_array_equal(
            main_effect(off, field), main_effect(small.uns["truth"], field)
        )
    for combination in combinations(off):
        np.testing.assert_array_equal(
            true_log_rate(off, combination), true_log_rate(off, combination, interaction=False)
        )


@given(seed=st.integers(0, 50), n_types=st.integers(2, 4))
@settings(deadline=None, max_examples=5)
def test_the_same_seed_gives_the_same_cells_and_another_seed_others(seed, n_types):
    """A result that is found on these cells can be found again."""
    config = ContextsConfig(n_obs=150, n_vars=200, n_types=n_types, n_least=3, seed=seed)
    first, again = simulate_contexts(config), simulate_contexts(config)
    assert (first.X != again.X).nnz == 0
    pd.testing.assert_frame_equal(first.obs, again.obs)
    other = simulate_contexts(config.model_copy(update={"seed": seed + 1}))
    assert (first.X != other.X).nnz > 0
    assert (first.uns["truth"]["base"] != other.uns["truth"]["base"]).all()


def test_more_cells_of_a_seed_have_the_same_truth(small):
    """So that a test may ask for more cells of what it knows."""
    more = simulate_contexts(SMALL.model_copy(update={"n_obs": 2500})).uns["truth"]
    for combination in combinations(more):
        np.testing.assert_array_equal(
            true_log_rate(more, combination), true_log_rate(small.uns["truth"], combination)
        )


@pytest.mark.parametrize("interaction", [True, False])
def test_the_truth_survives_the_disk(interaction, tmp_path):
    """The evaluation reads it from the file that the pipeline wrote."""
    config = ContextsConfig(n_obs=200, n_vars=200, n_least=2, interaction=interaction)
    drawn = simulate_contexts(config)
    drawn.write_h5ad(tmp_path / "contexts.h5ad")
    read = read_h5ad(tmp_path / "contexts.h5ad")
    assert (read.layers["counts"] != drawn.X).nnz == 0
    assert list(read.uns["synthome"]["field_keys"]) == list(FIELDS)
    for combination in combinations(drawn.uns["truth"]):
        np.testing.assert_array_equal(
            true_log_rate(read.uns["truth"], combination),
            true_log_rate(drawn.uns["truth"], combination),
        )
    np.testing.assert_array_equal(
        read.uns["truth"]["programs"]["loading"], drawn.uns["truth"]["programs"]["loading"]
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"assay": "Smart-seq"}, "assay has no category 'Smart-seq': the simulation drew 10x v3"),
        ({"organ": "liver"}, "Give exactly these fields"),
    ],
)
def test_a_combination_that_was_not_simulated_is_refused(small, wrong, message):
    """A misspelt category would otherwise be scored against the reference."""
    with pytest.raises(InputError, match=message):
        true_log_rate(small.uns["truth"], REFERENCE | wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_obs": 1000}, "30 combinations of n_least 40 cells"),
        ({"n_donors": 2, "n_conditions": 3}, "a donor is in one condition"),
        ({"n_vars": 150}, "at most a fifth of n_vars, 30"),
        ({"largest_factor": 1.5}, "below smallest_factor 2"),
        ({"assay_down": 0}, "ask for both, or for neither"),
    ],
)
def test_choices_that_do_not_fit_together_are_refused(wrong, message):
    """Before any cell is drawn, and with the number that would fit."""
    with pytest.raises(ValidationError, match=message):
        ContextsConfig(**wrong)
