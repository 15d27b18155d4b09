from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from signature_cohort import cohort
from sklearn.metrics import f1_score

from synthome.anndata_schema import expression, labels
from synthome.encoding.lookup_table import LookupTable, LookupTableConfig
from synthome.evaluation.matched import (
    ARMS,
    CLASSICAL,
    LM,
    MatchedConfig,
    attack_rates,
    compare,
    macro_f1,
    summarised,
)
from synthome.models.omics_lm import Corpus
from synthome.preprocessing.splits import SplitConfig, assign_folds
from synthome.preprocessing.transform import TransformConfig

GENES = tuple(f"g{j}" for j in range(12))


@dataclass
class Remembers:
    """In the place of a language model: the mean of each class of whatever rows it is given.

    Rows are the training patients moved a little (``noise``), so that tests know what to expect.
    """

    seed: int
    noise: float = 0.5
    genes: tuple[str, ...] = GENES
    classes: tuple[str, ...] = ("A", "B", "C")
    asked: list[np.ndarray] = field(default_factory=list)

    def corpus(self, train):
        x, y = expression(train[:, list(GENES)]), labels(train)
        self.table = LookupTable.fit(x, LookupTableConfig())
        rng = np.random.default_rng(self.seed)
        rows = np.repeat(np.arange(len(x)), 3)
        drawn = x[rows] + self.noise * rng.standard_normal((len(rows), 12))
        return Corpus(GENES, drawn, y[rows], x, y, x[:0], y[:0])

    def learn(self, corpus):
        self.means = np.stack([corpus.x[corpus.labels == c].mean(axis=0) for c in self.classes])
        return self

    def values(self, adata):
        return expression(adata[:, list(GENES)])

    def probabilities(self, x):
        self.asked.append(x)
        distance = np.square(x[:, None] - self.means[None]).sum(axis=2)
        p = np.exp(-0.5 * (distance - distance.min(axis=1, keepdims=True)))
        return p / p.sum(axis=1, keepdims=True)

    def named(self, x, rng):
        return np.array(self.classes)[self.probabilities(x).argmax(axis=1)]

    def write(self, wanted, rng):
        means = self.means[np.searchsorted(self.classes, wanted)]
        return means + rng.standard_normal(means.shape)


def folded(n_repeats=2):
    return assign_folds(cohort(), SplitConfig(n_splits=3, n_repeats=n_repeats))


@pytest.fixture(scope="module")
def found(small_networks):
    return compare(folded(), Remembers, Remembers, TransformConfig(), MatchedConfig(n_written=20))


@pytest.fixture(scope="module")
def small_networks():
    """A hidden layer needs fewer steps here than on patients."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synthome.evaluation.classifiers.NETWORK_STEPS", 60)
        patch.setattr("synthome.evaluation.classifiers.N_TREES", 20)
        yield


def test_every_model_is_asked_on_every_fold_and_the_language_model_where_it_is_wanted(found):
    strict = found.scores.query("protocol == 'strict' and metric == 'auc'")
    sizes = strict.groupby(["arm", "model"]).size()
    for arm in ARMS:
        assert (sizes[arm][list(CLASSICAL)] == 6).all()
    assert sizes["drawn"][LM] == 3
    assert LM not in sizes["real"]
    published = found.scores.query("protocol == 'published'")
    assert set(published["model"]) == {LM, *CLASSICAL}
    assert (published["n_test"] == 60).all()


def test_all_models_learn_from_as_many_rows_of_the_same_patients(found):
    one = found.scores.query("protocol == 'strict' and repeat == 0 and fold == 0")
    n = one.groupby("arm")["n_train"].unique().map(list).to_dict()
    assert n == {"drawn": [120], "real": [40], "noise": [120], "copies": [120]}


def test_easy_classes_are_told_apart_and_shuffled_labels_are_not(found):
    strict = found.scores.query("protocol == 'strict' and metric == 'balanced_accuracy'")
    assert strict["value"].mean() > 0.95
    adata = folded(1)
    adata.obs["label"] = np.random.default_rng(0).permutation(adata.obs["label"])
    shuffled = compare(
        adata, Remembers, Remembers, TransformConfig(), MatchedConfig(published=False)
    ).scores.query("metric == 'balanced_accuracy'")
    assert shuffled["value"].mean() == pytest.approx(1 / 3, abs=0.12)


def test_nobody_is_asked_about_a_patient_whom_the_sampler_saw():
    """Strict: held-out patients alone. Published: the very patients that rows were drawn from."""
    models = []

    def make(seed):
        models.append(Remembers(seed))
        return models[-1]

    adata = folded(1)
    compare(adata, make, make, TransformConfig(), MatchedConfig(n_written=3))
    strict, (published,) = models[:3], models[3:]
    for fold, model in enumerate(strict):
        is_test = (adata.obs["fold_0"] == fold).to_numpy()
        np.testing.assert_allclose(model.asked[0], model.values(adata[is_test]))
    assert len(published.asked[0]) == adata.n_obs


def test_a_published_score_remembers_where_a_strict_one_does_not():
    """Labels mean nothing; nearest neighbours of moved patients know them all the same."""
    adata = folded(1)
    adata.obs["label"] = np.random.default_rng(0).permutation(adata.obs["label"])

    def make(seed):
        return Remembers(seed, noise=0.01)

    scores = compare(adata, make, make, TransformConfig(), MatchedConfig()).scores
    scores = scores.query("metric == 'balanced_accuracy' and model == 'neighbours'")
    scores = scores.query("arm == 'drawn'")
    by = scores.groupby("protocol")["value"].mean()
    assert by["published"] > 0.95
    assert by["strict"] < 0.55


def test_attacks_find_copies_and_not_noise(found):
    rates = found.attacks.set_index(["arm", "attack"])["auc"]
    assert rates["copies", "text"] == 1.0
    assert rates["copies", "nearest"] == 1.0
    assert rates["noise", "text"] < 0.75
    assert set(rates.index.get_level_values("arm")) == {"written", "drawn", "noise", "copies"}


def test_attack_rates_count_each_patient_once():
    rows = pd.DataFrame(
        {"arm": "drawn", "attack": "text", "repeat": 0, "fold": np.repeat([0, 1], 10)}
    )
    rows["member"] = np.tile([True] * 5 + [False] * 5, 2)
    rows["score"] = np.where(rows["member"], 1.0, 0.0) + np.arange(20) * 1e-3
    rate = attack_rates(rows).iloc[0]
    assert rate["auc"] == 1.0
    assert rate["n_patients"] == 10
    assert attack_rates(rows.iloc[:0]).empty


def test_macro_f1_is_that_of_scikit_learn_over_the_classes_that_are_there():
    rng = np.random.default_rng(0)
    true, called = rng.choice(["a", "b"], 40), rng.choice(["a", "b", "c", ""], 40)
    expected = f1_score(true, called, labels=["a", "b"], average="macro", zero_division=0)
    assert macro_f1(true, called) == pytest.approx(expected)


def test_the_summary_averages_folds(found):
    table = summarised(found.scores)
    which = "protocol == 'strict' and arm == 'real' and model == 'forest' and metric == 'auc'"
    one, values = table.query(which), found.scores.query(which)["value"]
    assert float(one["mean"].iloc[0]) == pytest.approx(values.mean())
    assert int(one["n_folds"].iloc[0]) == 6
    assert int(one["n_patients"].iloc[0]) == 60
    assert (table["low"].dropna() <= table["mean"][table["low"].notna()]).all()


def test_the_same_seed_gives_the_same_table(found, small_networks):
    again = compare(folded(), Remembers, Remembers, TransformConfig(), MatchedConfig(n_written=20))
    pd.testing.assert_frame_equal(again.scores, found.scores)
    pd.testing.assert_frame_equal(again.attacks, found.attacks)


def test_answers_name_no_patient(found):
    assert list(found.answers) == ["protocol", "repeat", "fold", "true", "called", "confidence"]
    assert len(found.answers.query("protocol == 'strict'")) == 60
