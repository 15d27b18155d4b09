"""One contract for every generator of the registry."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy import sparse

from synthome.anndata_schema import COUNTS, UNS, labels
from synthome.csr import CSRRows
from synthome.errors import InputError
from synthome.models.registry import Architecture, GeneratorSettings, from_state, load_generator
from synthome.state_file import write_state

N_OBS, N_VARS = 40, 3000

SHORT = {"training": {"max_epochs": 40, "learning_rate": 2e-3, "threads": 1}}
OPTIONS = {
    "published_vae": {"n_hidden": (64, 32), "n_latent": 8, **SHORT},
    "gan": {"n_hidden": (32, 64), **SHORT},  # a wide one has collapsed onto one class by then
    "wgan_gp": {"n_hidden": 32, **SHORT},
    "dp_vae": {"epsilon": 100, "noise": "seeded", **SHORT},
    "omics_lm": {
        "n_genes": 8,
        "class_size": 50,
        "sampler": {"generator": "moments", "options": {"law": "normal"}},
        "table": {"float_precision": 4},
        "network": {
            "n_hidden": 16,
            "n_layers": 1,
            "n_heads": 2,
            "n_key_heads": 2,
            "n_feedforward": 16,
        },
        "training": {"max_epochs": 2, "warmup_steps": 2},
    },
    "ldvae": {
        "n_latent": 2,
        "n_hidden": 8,
        "training": {"max_epochs": 20, "steps_per_epoch": 1, "learning_rate": 1e-2},
    },
    "cycle_ae": {
        "n_latent": 2,
        "n_hidden": 8,
        "n_field_latent": 2,
        "map_rank": 1,
        "training": {"max_epochs": 3, "steps_per_epoch": 2},
    },
}
SETTINGS = {
    name: GeneratorSettings(
        architecture="it",
        architectures={"it": {"generator": name, "options": OPTIONS.get(name, SHORT)}},
    )
    for name in (
        "rare_vae", "published_vae", "gan", "wgan_gp", "dp_vae", "ldvae", "cycle_ae", "omics_lm",
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def train() -> AnnData:
    rng = np.random.default_rng(0)
    classes = np.array(["case"] * 26 + ["control"] * 14)
    effect = np.where(classes == "case", 1.0, 0.0)[:, None] * rng.normal(0, 2, N_VARS)
    factor = rng.normal(size=(N_OBS, 1)) * rng.normal(0, 1.5, N_VARS)
    x = 5 + effect + factor + rng.normal(size=(N_OBS, N_VARS))
    obs = pd.DataFrame(
        {"condition": classes, "sex": rng.choice(["f", "m"], N_OBS)},
        index=[f"s{i}" for i in range(N_OBS)],
    )
    var = pd.DataFrame(index=[f"g{i}" for i in range(N_VARS)])
    counts = sparse.csr_matrix(rng.poisson(np.exp(x - 3)), dtype=np.float32)
    facts = {"label_key": "condition", "scale": "log"}
    return AnnData(x, obs=obs, var=var, layers={COUNTS: counts}, uns={UNS: facts})


@pytest.fixture(scope="module", params=SETTINGS)
def fitted(request, train):
    """A generator that was fitted once, with one thread around it."""
    return with_threads(1, lambda: SETTINGS[request.param].build().fit(train))


def with_threads(n, do):
    """What ``do`` returns while PyTorch is set to ``n`` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        result = do()
        assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(before)
    return result


def test_same_seed_gives_the_same_draw(fitted, train):
    """Reproducible to the bit: a second fit and draw from the same seeds are equal.

    Other libraries change the number of threads; a seed must mean one result all the same. And a
    fit leaves its input alone.
    """
    before = train.copy()
    again = with_threads(2, lambda: SETTINGS[fitted.name].build().fit(train))
    np.testing.assert_array_equal(train.X, before.X)
    assert train.obs.equals(before.obs)
    first = fitted.sample(30, None, np.random.default_rng(7))
    second = with_threads(2, lambda: again.sample(30, None, np.random.default_rng(7)))
    np.testing.assert_array_equal(first.X, second.X)
    assert first.obs.equals(second.obs)


def test_another_seed_gives_another_model(fitted, train):
    other = SETTINGS[fitted.name].build(seed=1).fit(train)
    first = fitted.sample(30, None, np.random.default_rng(7))
    second = other.sample(30, None, np.random.default_rng(7))
    assert not np.array_equal(first.X, second.X)


def test_reloaded_generator_draws_the_same(fitted, tmp_path):
    """The weights file alone rebuilds the generator."""
    write_state(tmp_path / "weights.safetensors", fitted.state())
    reloaded = load_generator(tmp_path / "weights.safetensors")
    first = fitted.sample(30, ["case"] * 30, np.random.default_rng(3))
    second = reloaded.sample(30, ["case"] * 30, np.random.default_rng(3))
    np.testing.assert_array_equal(first.X, second.X)
    np.testing.assert_array_equal(labels(first), labels(second))


def test_weights_hold_no_sample_names(fitted, train):
    """Patients' identifiers never reach outputs."""
    text = str(fitted.state()[1])
    assert not any(f"'{name}'" in text for name in train.obs_names)


def test_labels_are_those_asked_for(fitted):
    wanted = ["control"] * 5 + ["case"] * 7
    drawn = fitted.sample(12, wanted, np.random.default_rng(0))
    assert labels(drawn).tolist() == wanted
    assert drawn.obs["synthetic"].all()


def test_unknown_label_is_refused(fitted):
    with pytest.raises(InputError, match="only case, control"):
        fitted.sample(2, ["case", "other"], np.random.default_rng(0))


def test_higher_temperature_spreads_the_draws(fitted):
    def spread(temperature):
        drawn = fitted.sample(400, None, np.random.default_rng(0), temperature=temperature).X
        # The genes of a hot cell share its counts more unequally: more of them are 0.
        of_counts = fitted.name in ("ldvae", "cycle_ae")
        return (np.expm1(drawn) if of_counts else drawn).std(axis=0).mean()

    assert spread(3.0) > 1.1 * spread(0.5)


def minibatch(fitted: Any, train: AnnData) -> list[torch.Tensor | CSRRows]:
    """What the loss of a model takes."""
    name = fitted.name
    if name == "omics_lm":
        return fitted._rows(fitted.values(train), labels(train))
    if name == "ldvae":
        rows = CSRRows.of(train.layers[COUNTS][:16])
        return [rows, rows.row_sums(), torch.zeros(16, dtype=torch.int64)]
    if name == "cycle_ae":
        counts, size, codes = fitted._cells(train[:30].copy())
        return [CSRRows.of(counts), torch.from_numpy(size).float(), torch.from_numpy(codes)]
    x = torch.randn(16, N_VARS).sigmoid()
    one_hot = torch.eye(2)[torch.arange(16) % 2]
    return [x, one_hot] if name in ("rare_vae", "wgan_gp", "dp_vae") else [x]


def test_every_parameter_gets_a_gradient(fitted, train):
    """But for those of a classifier that is fitted before, and held fixed."""
    network = fitted.network.train()
    network.loss(*minibatch(fitted, train))["loss"].backward()
    named = [(n, p) for n, p in network.named_parameters() if not n.startswith("classifier.")]
    without = [n for n, p in named if p.grad is None or not p.grad.any()]
    network.zero_grad()
    network.eval()
    assert without == []


def test_facts_of_another_generator_are_refused():
    with pytest.raises(InputError, match="no generator called 'nothing'"):
        from_state(({}, {"generator": "nothing"}))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("class_normal", {"covariance": "pooled_ledoit_wolf"}),
        ("smote", {}),
        ("moments", {"law": "normal"}),
        ("crossover", {"n_genes": 5}),
        ("independent_noise", {}),
        ("shuffled_genes", {}),
        ("copies", {}),
        ("bootstrap", {}),
    ],
)
def test_untrained_generators_are_made_by_name_too(name, options, train):
    drawn = (
        Architecture(generator=name, options=options)
        .build(seed=0)
        .fit(train)
        .sample(12, None, np.random.default_rng(0))
    )
    assert drawn.shape == (12, N_VARS)
    assert np.isfinite(drawn.X).all()


def test_an_option_that_a_generator_lacks_is_refused():
    with pytest.raises(ValueError, match="n_latent"):
        Architecture(generator="copies", options={"n_latent": 3}).build(seed=0)
