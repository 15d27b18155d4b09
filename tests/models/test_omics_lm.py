import itertools
import logging
import re

import numpy as np
import pytest
import torch
from signature_cohort import cohort

from synthome.anndata_schema import labels
from synthome.encoding.lookup_table import PUBLISHED
from synthome.errors import InputError
from synthome.models.omics_lm import (
    TRAINING,
    OmicsLM,
    OmicsLMConfig,
    OmicsLMGenerator,
    start_at_values,
)
from synthome.models.registry import from_state
from synthome.rng import seeded

TINY = {
    "n_genes": 12,
    "class_size": 200,
    "corruption": 0.1,
    "smoothing": 0.1,
    "writing": 0.5,
    "table": {"float_precision": 4},
    "sampler": {"generator": "moments", "options": {"law": "normal"}},
    "network": {"n_hidden": 64, "n_layers": 1, "n_heads": 2, "n_key_heads": 2, "n_feedforward": 64},
    "training": {"max_epochs": 14, "learning_rate": 3e-3, "warmup_steps": 10},
}


def config(**changes):
    return OmicsLMConfig.model_validate(TINY | changes)


def trained(**changes):
    return OmicsLMGenerator(config(**changes)).fit(cohort())


@pytest.fixture(scope="module")
def fitted():
    return trained()


@pytest.fixture(scope="module")
def held_out():
    return cohort(seed=1)


def test_it_reads_patients_whom_it_has_not_seen(fitted, held_out):
    p = fitted.read(held_out)
    assert p.sum(axis=1) == pytest.approx(1.0)
    named = np.array(fitted.classes)[p.argmax(axis=1)]
    assert (named == labels(held_out)).mean() > 0.9
    again = fitted.read(held_out)
    np.testing.assert_array_equal(p, again)


def test_what_it_writes_decodes_and_is_read_as_its_class(fitted):
    wanted = np.repeat(["A", "B", "C"], 30)
    x = fitted.write(wanted, np.random.default_rng(0))
    assert x.shape == (90, 12)
    read = np.array(fitted.classes)[fitted.probabilities(x).argmax(axis=1)]
    assert (read == wanted).mean() > 0.7
    np.testing.assert_array_equal(x, fitted.write(wanted, np.random.default_rng(0)))
    assert not np.array_equal(x, fitted.write(wanted, np.random.default_rng(1)))


def test_only_symbols_that_training_rows_have_are_written(fitted):
    x = fitted.write(np.repeat(["A", "B"], 100), np.random.default_rng(0), temperature=5.0)
    codes = fitted.table.codes(x)
    assert fitted.seen[codes].all()
    assert not fitted.seen.all()


def test_a_cold_text_is_more_alike_than_a_hot_one(fitted):
    cold, hot = (
        fitted.write(np.repeat("A", 200), np.random.default_rng(0), temperature=t)
        for t in (0.3, 1.5)
    )
    assert cold.std(axis=0).mean() < 0.8 * hot.std(axis=0).mean()


def test_all_genes_come_with_the_signature(fitted):
    drawn = fitted.sample(20, ["A"] * 20, np.random.default_rng(0))
    assert drawn.n_vars == 30
    expected = fitted.write(np.repeat("A", 20), np.random.default_rng(0))
    np.testing.assert_allclose(drawn[:, list(fitted.genes)].X, expected, rtol=1e-6)


def test_the_loss_is_that_of_whole_sequences(fitted):
    """Independent reference: log softmax of each next token, summed by hand in double precision."""
    words, model = fitted.words, fitted.network.double()
    try:
        x = fitted.values(cohort())
        text, label = torch.from_numpy(words.tokens(fitted.table.codes(x[:5]))), torch.arange(5) % 3
        with torch.no_grad():
            terms = model.read(text, label)
            written = model.write(text, label)
            total, forms = {"label": 0.0, "text": 0.0, "written": 0.0}, words.text_length
            for row, k in zip(text.tolist(), label.tolist(), strict=True):
                c = words.first_class + k
                tokens = [*row, words.label, c, words.eos]
                for i in range(1, len(tokens)):
                    p = model.logits(torch.tensor([tokens[:i]]))[0, -1].log_softmax(-1)
                    if tokens[i] == c:
                        others = float(p[words.classes].mean())
                        total["label"] -= 0.9 * float(p[c]) + 0.1 * others
                    else:
                        total["text"] -= float(p[tokens[i]])
                tokens = [c, *row, words.eos]
                for i in range(1, len(tokens)):
                    p = model.logits(torch.tensor([tokens[:i]]), start=0)[0, -1].log_softmax(-1)
                    total["written"] -= float(p[tokens[i]])
        assert float(terms["label"]) == pytest.approx(total["label"] / 5)
        assert float(terms["text"]) == pytest.approx(total["text"] / (5 * (forms + 1)))
        assert float(written) == pytest.approx(total["written"] / (5 * (forms + 1)))
    finally:
        model.float()


def test_writing_with_a_cache_has_the_law_of_whole_sequences(fitted):
    """Likeliest symbols of each place: drawn at temperature 0.001, and by forward passes."""
    words, model = fitted.words, fitted.network
    label = torch.tensor([0, 2])
    nothing = torch.zeros(words.n_symbols)
    with torch.no_grad():
        drawn = model.draw(label, nothing, 1e-3, torch.Generator().manual_seed(0))
        for row, k in zip(drawn.tolist(), label.tolist(), strict=True):
            tokens = [words.first_class + k, *row]
            logits = model.logits(torch.tensor([tokens]), start=0)[0]
            for place in words.letters:
                assert tokens[place + 1] == int(logits[place, : words.n_symbols].argmax())


def test_rows_to_learn_from_are_new_and_of_training_patients_alone():
    adata = cohort()
    corpus = OmicsLMGenerator(config(class_size="max")).corpus(adata)
    assert (np.unique(corpus.labels, return_counts=True)[1] == 20).all()
    assert corpus.x.shape == (60, 12)
    assert len(corpus.real) == 60
    assert not len(corpus.aside)
    distance = np.abs(corpus.x[:, None] - corpus.real[None]).max(axis=2)
    assert distance.min() > 0


def test_patients_are_set_aside_before_rows_are_drawn():
    """Strict: nothing of them shapes a row, a gene choice or the table. Published: rows split."""
    adata = cohort()
    training = TINY["training"] | {"validation_fraction": 0.2}
    first = OmicsLMGenerator(config(training=training)).corpus(adata)
    assert len(first.aside) == 12
    assert len(first.real) == 48
    aside = np.flatnonzero(
        (adata[:, list(first.genes)].X[:, None] == first.aside[None]).all(axis=2).any(axis=1)
    )
    changed = cohort()
    changed.X[aside] += 100.0
    second = OmicsLMGenerator(config(training=training)).corpus(changed)
    assert second.genes == first.genes
    np.testing.assert_array_equal(second.x, first.x)
    rows = OmicsLMGenerator(config(training=training, validation="rows")).corpus(adata)
    assert len(rows.real) == 60
    assert len(rows.aside) == 120
    assert len(rows.x) == 480


def test_published_decoding_draws_and_comparison_does_not(fitted, held_out):
    x = fitted.values(held_out)
    compared = fitted.named(x, np.random.default_rng(0))
    np.testing.assert_array_equal(compared, fitted.named(x, np.random.default_rng(1)))
    unsure = OmicsLMGenerator(
        config(decoding="sample", training=TINY["training"] | {"max_epochs": 1})
    )
    unsure.learn(unsure.corpus(cohort()))
    draws = [unsure.named(x, np.random.default_rng(seed)) for seed in range(3)]
    assert any((a != b).any() for a, b in itertools.pairwise(draws))
    assert set(np.concatenate(draws)) <= {"A", "B", "C", ""}


def test_near_values_start_near():
    with seeded(0):
        embedding = torch.randn(7, 64) * 0.02
        levels = torch.tensor([-2.0, -1.9, 0.0, 0.1, 2.0])
        before = embedding[5:].clone()
        start_at_values(embedding, levels)
    distance = torch.cdist(embedding[:5], embedding[:5])
    assert distance[0, 1] < distance[0, 2] < distance[0, 4] * 1.5
    assert distance[2, 3] < 0.5 * distance[2, 4]
    torch.testing.assert_close(embedding[5:], before)


@pytest.mark.parametrize("name", ["network.embed_tokens.weight", "network.slots.weight"])
def test_every_token_and_slot_that_occurs_gets_a_gradient(fitted, name):
    model: OmicsLM = fitted.network
    x = fitted.values(cohort())
    model.train()
    model.loss(*fitted._rows(x, labels(cohort())))["loss"].backward()
    gradient = dict(model.named_parameters())[name].grad
    model.zero_grad()
    model.eval()
    used = gradient.abs().sum(dim=1) > 0
    if "slots" in name:
        assert used[:-1].all()  # the last token of a text asks for none
    else:
        present = torch.from_numpy(np.unique(fitted.words.tokens(fitted.table.codes(x))))
        assert used[present].all()
        assert used[[fitted.words.label, *range(*fitted.words.classes.indices(10**6))]].all()


def test_given_signatures_decide_the_genes():
    adata = cohort()
    adata.uns["signatures"] = {"A": ["g0", "g1", "nowhere"], "B": ["g5", "g4"]}
    corpus = OmicsLMGenerator(config()).corpus(adata)
    assert corpus.genes == ("g0", "g1", "g5", "g4")


def test_missing_genes_are_the_mean_and_too_many_are_an_error(fitted, held_out, caplog):
    some = held_out[:, [g for g in held_out.var_names if g not in fitted.genes[:3]]].copy()
    with caplog.at_level(logging.WARNING):
        p = fitted.read(some)
    assert fitted.genes[0] in caplog.text
    assert "3 of 12 genes" in caplog.text
    assert (np.array(fitted.classes)[p.argmax(axis=1)] == labels(held_out)).mean() > 0.7
    few = held_out[:, [g for g in held_out.var_names if g not in fitted.genes[:7]]].copy()
    with pytest.raises(InputError, match=f"7 of the 12 genes.*{fitted.genes[0]}"):
        fitted.read(few)


def test_a_text_that_is_too_long_says_what_to_do():
    with pytest.raises(InputError, match=r"has 16 tokens.*10 at most.*n_genes.*patch_size"):
        trained(max_length=10)


def test_one_class_is_refused():
    adata = cohort()[::3].copy()
    with pytest.raises(InputError, match="two or more, but all 20 training rows are A"):
        OmicsLMGenerator(config()).fit(adata)


def test_nan_is_refused_by_name():
    adata = cohort()
    adata.X[4, :] = np.nan
    with pytest.raises(InputError, match="finite values, but 30 are not"):
        OmicsLMGenerator(config()).corpus(adata)


def test_a_table_of_other_parameters_is_refused(fitted):
    arrays, facts = fitted.state()
    changed = facts | {"config": facts["config"] | {"table": PUBLISHED.model_dump()}}
    with pytest.raises(InputError, match="made with other parameters: companding_max"):
        from_state((arrays, changed))
    with pytest.raises(InputError, match="damaged"):
        from_state((arrays, facts | {"table": facts["table"][:-40]}))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of what compiles
@pytest.mark.parametrize("compiled", [False, True])
def test_it_is_trained_on_a_gpu_in_bf16_and_reads_as_well(held_out, compiled):
    training = TINY["training"] | {"device": "cuda", "compile": compiled}
    model = trained(training=training)
    named = np.array(model.classes)[model.read(held_out).argmax(axis=1)]
    assert (named == labels(held_out)).mean() > 0.9
    assert model.write(np.repeat("A", 5), np.random.default_rng(0)).shape == (5, 12)


def test_the_speed_of_training_is_told(caplog):
    with caplog.at_level(logging.INFO):
        trained(training=TINY["training"] | {"max_epochs": 1})
    assert re.search(r"[\d,]+ tokens per second in training, \d+ % of the matrix peak", caplog.text)


def test_the_defaults_are_those_of_the_publication_but_for_size_and_time():
    assert (TRAINING.optimizer, TRAINING.betas, TRAINING.weight_decay) == (
        "adamw",
        (0.9, 0.95),
        0.1,
    )
    assert TRAINING.batch_size == 32
