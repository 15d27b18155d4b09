"""The classifier of contexts: its scores by hand, what it learns, and that it is held fixed."""

import numpy as np
import pytest
import torch
from contexts import TARGET_SUM, part_of, prepared_contexts
from numpy.testing import assert_allclose
from scipy.special import softmax

from synthome.anndata_schema import COUNTS, LIBRARY_SIZE
from synthome.csr import CSRRows
from synthome.fields import Fields
from synthome.models import context_classifier
from synthome.models.combinations import training_rows
from synthome.models.context_classifier import ContextClassifier, fit_classifier, scores_of

FIELDS = ("cell_type", "assay", "condition")


@pytest.fixture(scope="module")
def cells():
    return prepared_contexts(n_obs=800, n_vars=150)


@pytest.fixture(scope="module")
def fields(cells):
    return Fields.of(cells.obs, FIELDS)


def rows_of(cells, fields):
    """Counts, library sizes and codes, as training takes them."""
    size = cells.obs[LIBRARY_SIZE].to_numpy(dtype=np.float64)
    none = np.zeros(cells.n_obs, dtype=bool)
    return training_rows(cells.layers[COUNTS], size, fields.encode(cells.obs), none, 0)[0]


@pytest.fixture(scope="module")
def halves(cells, fields):
    return [rows_of(part_of(cells, split), fields) for split in ("train", "test")]


def fit_to(rows, held_out, fields, target_sum=TARGET_SUM):
    """A classifier that is drawn and fitted from one seed, and its scores."""
    torch.manual_seed(0)
    made = ContextClassifier(rows[0].n_vars, fields.sizes)
    with pytest.MonkeyPatch.context() as patch:
        quick = context_classifier.TRAINING.model_copy(update={"max_epochs": 6})
        patch.setattr(context_classifier, "TRAINING", quick)
        return made, fit_classifier(made, rows, held_out, target_sum, fields.names, 0)


@pytest.fixture(scope="module")
def fitted(halves, fields):
    rows, held_out = halves
    return fit_to(rows, held_out, fields)


def test_scores_are_those_worked_out_by_hand():
    """Three bins of confidence, with two, two and one of five cells."""
    p = np.array([[0.94, 0.06], [0.04, 0.96], [0.68, 0.32], [0.62, 0.38], [0.28, 0.72]])
    found = scores_of(p, np.array([0, 1, 0, 1, 0]))
    gaps = [abs(2 / 2 - (0.94 + 0.96) / 2), abs(1 / 2 - (0.68 + 0.62) / 2), abs(0 / 1 - 0.72)]
    assert found["calibration_error"] == pytest.approx(np.average(gaps, weights=[2, 2, 1]))
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["n"] == 5


def test_honest_probabilities_are_calibrated_and_bold_ones_are_not():
    """Classes drawn from the probabilities have a small error; sharpened ones are overconfident."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1.0, 1.0, 1.0], 20_000)
    true = (rng.random(len(p))[:, None] > p.cumsum(axis=1)).sum(axis=1)
    bold = p**3 / (p**3).sum(axis=1, keepdims=True)
    honest, overconfident = (scores_of(each, true) for each in (p, bold))
    assert honest["calibration_error"] < 0.015
    assert overconfident["accuracy"] == honest["accuracy"]
    assert overconfident["calibration_error"] > 0.1
    sure = scores_of(np.eye(3)[true], true)
    assert (sure["calibration_error"], sure["accuracy"]) == (0.0, 1.0)


def test_logits_are_those_of_the_equation(fitted, halves):
    """Eq. 1 in NumPy, with a sum over hidden units; dropout is for the fit alone."""
    network, _ = fitted
    y = network.log_expression(*halves[1][:2])
    w = {name: value.double().numpy() for name, value in network.state_dict().items()}
    hidden = (y.double().numpy() - w["mean"]) / w["spread"] @ w["hidden.weight"].T
    hidden = np.maximum(hidden + w["hidden.bias"], 0.0)
    for f, logits in enumerate(network(y)):
        expected = hidden @ w[f"out.{f}.weight"].T + w[f"out.{f}.bias"]
        assert_allclose(logits.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_it_reads_log_expression_of_the_whole_library(fitted, cells, halves):
    """X of preprocessing, whose library sizes are those of the cells."""
    y = fitted[0].log_expression(*halves[0][:2])
    assert_allclose(y.numpy(), part_of(cells, "train").X.toarray(), rtol=1e-4, atol=1e-5)


def test_another_sum_of_the_library_is_heeded(halves, fields):
    """Data may come as counts per thousand, or per million."""
    counts, size, codes = halves[0]
    network, _ = fit_to((counts, size, codes), None, fields, target_sum=1e3)
    found = network.log_expression(counts, size)
    expected = np.log1p(1e3 * counts.dense().numpy() / size.numpy()[:, None])
    assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert_allclose(network.mean, expected.mean(axis=0), rtol=1e-3, atol=1e-5)


def test_loss_is_minus_the_log_probability_of_all_fields(fitted, halves):
    network, (counts, size, codes) = fitted[0], halves[1]
    logits = network(network.log_expression(counts, size))
    expected = 0.0
    for f, own in enumerate(logits):
        p = softmax(own.double().numpy(), axis=1)
        expected -= np.log(p[np.arange(len(p)), codes[:, f].numpy()]).mean()
    assert float(network.loss(counts, size, codes)["loss"]) == pytest.approx(expected, rel=1e-4)


def test_contexts_that_differ_are_told_apart_in_cells_set_aside(fitted, halves, fields):
    network, scores = fitted
    assert tuple(scores) == FIELDS
    counts, size, codes = halves[1]
    logits = network(network.log_expression(counts, size))
    for f, name in enumerate(FIELDS):
        assert scores[name]["n"] == len(codes)
        assert scores[name]["accuracy"] == pytest.approx(
            (logits[f].argmax(dim=1) == codes[:, f]).double().mean().item()
        )
        assert scores[name]["balanced_accuracy"] > 0.9
        assert scores[name]["calibration_error"] < 0.1


def test_a_field_that_cannot_be_told_has_the_scores_of_chance(halves, fields):
    """Shuffled conditions: as right as a coin, whatever it has learnt by heart."""
    rows, held_out = ((counts, size, codes.clone()) for counts, size, codes in halves)
    for each in (rows, held_out):
        each[2][:, 2] = torch.from_numpy(np.random.default_rng(0).integers(0, 2, len(each[2])))
    _, scores = fit_to(rows, held_out, fields)
    assert abs(scores["condition"]["balanced_accuracy"] - 0.5) < 0.1  # four standard errors
    assert scores["cell_type"]["balanced_accuracy"] > 0.9


def test_it_is_held_fixed_afterwards(fitted, halves):
    """No parameter asks for a gradient, while what it reads still has one; same cell, same word."""
    network, _ = fitted
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    counts, size, codes = halves[0]
    y = network.log_expression(counts, size).requires_grad_()
    loss = network.nll(y, codes)
    assert torch.equal(loss, network.nll(y, codes))
    (gradient,) = torch.autograd.grad(loss, y)
    assert gradient.abs().sum() > 0.0


def test_only_the_given_rows_are_read(fitted, halves, fields):
    """Cells set aside choose the epoch and are scored: their values change no standardisation.

    With one epoch there is nothing to choose, and other cells set aside give the same weights.
    """
    rows, held_out = halves
    y = fitted[0].log_expression(*rows[:2])
    assert_allclose(fitted[0].mean, y.mean(dim=0), rtol=1e-5, atol=1e-6)
    assert fitted[0].spread.min() >= context_classifier.LEAST_SPREAD
    with pytest.MonkeyPatch.context() as patch:
        one = context_classifier.TRAINING.model_copy(update={"max_epochs": 1})
        patch.setattr(context_classifier, "TRAINING", one)
        made = []
        for other in (held_out, (held_out[0], 3.0 * held_out[1], held_out[2].flip(0))):
            torch.manual_seed(1)
            made.append(ContextClassifier(rows[0].n_vars, fields.sizes))
            fit_classifier(made[-1], rows, other, TARGET_SUM, fields.names, 1)
    for name, value in made[0].state_dict().items():
        assert torch.equal(value, made[1].state_dict()[name]), name


def test_without_cells_set_aside_there_are_no_scores(halves, fields):
    network, scores = fit_to(halves[0], None, fields)
    assert scores == {}
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_same_seed_same_classifier(fitted, halves, fields):
    rows, held_out = halves
    again, scores = fit_to(rows, held_out, fields)
    assert scores == fitted[1]
    for name, value in again.state_dict().items():
        assert torch.equal(value, fitted[0].state_dict()[name]), name


def test_a_gene_that_never_varies_tells_nothing(halves, fields):
    """Its spread has a floor: a count that turns up in another cell is no proof of a context."""
    rows, _ = halves
    dense = rows[0].dense()
    dense[:, 3] = 0.0
    network, _ = fit_to((CSRRows.of(dense.numpy()), *rows[1:]), None, fields)
    assert network.spread[3] == pytest.approx(context_classifier.LEAST_SPREAD)
    assert all(torch.isfinite(p).all() for p in network.parameters())
