"""Labels for the draws of a generator that knows none: the nearest class mean of training.

Users need labelled rows, and an unconditional model cannot make them. Distances are Euclidean, on
log expression.
"""

from collections.abc import Callable, Sequence

import numpy as np
from anndata import AnnData
from jaxtyping import Float

from synthome.errors import InputError
from synthome.generator import as_synthetic, class_labels

ROUNDS = 200


class NearestClass:
    """The mean of each class of the training rows, and the class whose mean is nearest."""

    def __init__(self, names: Sequence[str], means: Float[np.ndarray, "n_classes n_vars"]) -> None:
        self.names, self.means = np.array(names, dtype=str), means

    @classmethod
    def fit(cls, x: Float[np.ndarray, "n_obs n_vars"], labels: np.ndarray) -> "NearestClass":
        """Measure the means."""
        names = np.unique(labels)
        return cls(names.tolist(), np.stack([x[labels == name].mean(axis=0) for name in names]))

    def of(self, x: Float[np.ndarray, "n_obs n_vars"]) -> np.ndarray:
        """Class of each row."""
        return self.names[np.stack([np.square(x - m).sum(1) for m in self.means]).argmin(axis=0)]

    def state(self) -> dict[str, np.ndarray]:
        """The means as named arrays; ``names`` go with them as JSON."""
        return {str(i): mean for i, mean in enumerate(self.means)}

    @classmethod
    def from_state(cls, names: list[str], state: dict[str, np.ndarray]) -> "NearestClass":
        """Rebuild what gave ``state``."""
        return cls(names, np.stack([state[str(i)] for i in range(len(names))]))


def labelled_draw(
    draw: Callable[[int], Float[np.ndarray, "n_obs n_vars"]],
    classes: NearestClass,
    n_obs: int,
    labels: Sequence[str] | None,
    rng: np.random.Generator,
    *,
    like: AnnData,
    train_labels: np.ndarray,
    title: str,
) -> AnnData:
    """Rows of ``draw(n_obs)``, each with its nearest class.

    With ``labels``, draws go on until each class has its rows, at most 200 times as many.

    Raises
    ------
    InputError
        If a class that ``labels`` asks for hardly ever comes out.
    """
    drawn = draw(n_obs)
    if labels is None:
        return as_synthetic(drawn, classes.of(drawn), like)
    wanted = class_labels(n_obs, labels, train_labels, rng)
    result = np.empty_like(drawn)
    missing = {name: np.flatnonzero(wanted == name) for name in np.unique(wanted)}
    for _ in range(ROUNDS):
        got = classes.of(drawn)
        for name, places in missing.items():
            rows = drawn[got == name][: len(places)]
            result[places[: len(rows)]] = rows
            missing[name] = places[len(rows) :]
        if not any(len(places) for places in missing.values()):
            return as_synthetic(result, wanted, like)
        drawn = draw(n_obs)
    rare = ", ".join(name for name, places in missing.items() if len(places))
    raise InputError(
        f"{title} knows no labels, and {ROUNDS * n_obs:,} of its draws did not hold enough rows "
        f"near class {rare}. For labelled rows use a generator that knows classes: rare_vae."
    )
