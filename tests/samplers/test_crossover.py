import numpy as np
import pytest
from signature_cohort import cohort

from synthome.anndata_schema import labels
from synthome.errors import InputError
from synthome.samplers.crossover import Crossover, CrossoverConfig


def origin(train, drawn, columns):
    """Row of ``train`` that each row of ``drawn`` agrees with in ``columns``."""
    same = (drawn.X[:, None, columns] == train.X[None][:, :, columns].astype(np.float32)).all(
        axis=2
    )
    assert (same.sum(axis=1) == 1).all()
    return same.argmax(axis=1)


def draw(train, **options):
    fitted = Crossover(CrossoverConfig(n_genes=4, **options)).fit(train)
    wanted = np.repeat(["A", "B"], 100).tolist()
    return fitted, fitted.sample(200, wanted, np.random.default_rng(0))


def test_local_blocks_come_whole_from_patients_of_the_class():
    train = cohort()
    fitted, drawn = draw(train)
    donors = []
    for columns in [*fitted.blocks.values(), fitted.outside]:
        source = origin(train, drawn, columns)
        assert (labels(train)[source] == labels(drawn)).all()
        donors.append(source)
    assert (donors[0] != donors[1]).mean() > 0.8  # each block from a patient of its own


def test_global_blocks_of_other_classes_come_from_anybody_who_is_not_of_theirs():
    train = cohort()
    fitted, drawn = draw(train, scope="global")
    for name, columns in fitted.blocks.items():
        of = labels(train)[origin(train, drawn, columns)]
        own = labels(drawn) == name
        assert (of[own] == name).all()
        assert (of[~own] != name).all()
        assert len(set(of[~own])) == 2
    assert (labels(train)[origin(train, drawn, fitted.outside)] == labels(drawn)).all()


def test_genes_outside_can_be_taken_one_by_one():
    train = cohort()
    fitted, drawn = draw(train, outside="genes")
    sources = np.stack([origin(train, drawn, [j]) for j in fitted.outside])
    assert (labels(train)[sources] == labels(drawn)).all()
    assert len(np.unique(sources[:, 0])) > 3


def test_a_signature_of_no_class_is_a_plain_block():
    train = cohort()
    train.uns["signatures"] = {"hypoxia": [f"g{j}" for j in range(10)]}
    fitted, drawn = draw(train, scope="global")
    source = origin(train, drawn, fitted.blocks["hypoxia"])
    assert (labels(train)[source] == labels(drawn)).all()


def test_global_needs_another_class():
    one = cohort()[::3].copy()
    one.uns["signatures"] = {"A": ["g1"]}
    with pytest.raises(InputError, match="one class only"):
        Crossover(CrossoverConfig(scope="global")).fit(one)
