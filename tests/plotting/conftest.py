"""A small cohort with two classes, planted modules and a held-out part, and its synthetic rows."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

N_VARS = 40
UNS = {"synthome": {"label_key": "condition", "group_key": "", "scale": "log"}}


def draw(n_obs: int, seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Rows with two modules of ten genes and a shift of five genes in cases; their labels."""
    rng = np.random.default_rng(seed)
    labels = np.where(np.arange(n_obs) % 3 == 0, "control", "case")
    factors = rng.normal(size=(n_obs, 2))
    x = rng.normal(scale=np.linspace(0.3, 0.9, N_VARS), size=(n_obs, N_VARS))
    x[:, :10] += 2.0 * factors[:, :1]
    x[:, 10:20] -= 2.0 * factors[:, 1:]
    x[:, 20:25] += 3.0 * (labels == "case")[:, None]
    return np.linspace(2, 8, N_VARS) + spread * x, labels


def as_cohort(n_obs: int, n_test: int, seed: int = 0) -> AnnData:
    x, labels = draw(n_obs, seed)
    obs = pd.DataFrame({"condition": labels}, index=[f"patient_{i}" for i in range(n_obs)])
    obs["split"] = ["train"] * (n_obs - n_test) + ["test"] * n_test
    var = pd.DataFrame(index=[f"gene_{i}" for i in range(N_VARS)])
    return AnnData(x, obs=obs, var=var, uns=UNS)


def as_synthetic_rows(n_obs: int, seed: int = 1, spread: float = 1.0) -> AnnData:
    x, labels = draw(n_obs, seed, spread)
    obs = pd.DataFrame({"condition": labels, "synthetic": True}, index=map(str, range(n_obs)))
    var = pd.DataFrame(index=[f"gene_{i}" for i in range(N_VARS)])
    return AnnData(x.astype(np.float32), obs=obs, var=var, uns=UNS)


@pytest.fixture
def cohort() -> AnnData:
    return as_cohort(n_obs=36, n_test=9)


@pytest.fixture
def synthetic() -> AnnData:
    return as_synthetic_rows(60)


@pytest.fixture
def make_cohort():
    return as_cohort


@pytest.fixture
def make_synthetic():
    return as_synthetic_rows


@pytest.fixture
def metrics() -> dict[str, dict]:
    def entry(value, low, high, floor, ceiling, cheat, cheat_wins=False):
        numbers = {"value": value, "interval": [low, high], "floor": floor, "ceiling": ceiling}
        return numbers | {"cheat": cheat, "n": 15, "cheat_wins": cheat_wins}

    return {
        "fidelity/std_slope": entry(0.95, 0.91, 0.99, 1.0, 0.98, 1.0, True),
        "fidelity/mmd2": entry(0.02, 0.01, 0.03, 0.1, 0.004, 0.002, True),
        "utility/tstr_auc": entry(0.93, 0.88, 0.97, 0.9, 0.95, 0.95),
        "utility/augmentation_gain": entry(0.02, -0.03, 0.07, 0.0, 0.04, 0.0),
        "privacy/nearest_auc": entry(0.55, 0.47, 0.63, 0.52, 0.5, 1.0),
        "privacy/subspace_auc": entry(0.99, 0.97, 1.0, 0.6, 0.5, 1.0),
        "privacy/nearest_tpr_at_fpr10": entry(0.12, 0.06, 0.21, 0.1, 0.1, 1.0),
    }


def texts(figure) -> list[str]:
    """Every text that a figure shows."""
    from matplotlib.text import Text

    found = [artist.get_text() for artist in figure.findobj(Text)]
    return [text for text in found if text]


@pytest.fixture
def texts_of():
    return texts
