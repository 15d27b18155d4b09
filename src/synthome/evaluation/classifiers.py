"""The two classifiers of every utility score, logistic regression and a random forest; two more.

Nearest neighbours and a small network stand beside them where classifiers are compared.

Logistic regression with an L2 penalty does not change when the genes are rotated: its weights lie
in the span of the training rows. Where rows are few, it is fitted on their coordinates in that
span (n_obs columns at most instead of n_vars), which is the same problem, solved sooner: two
classes on few coordinates by Newton's method, to rounding error, everything else by L-BFGS.
"""

import warnings
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

Kind = Literal["logistic", "forest"]
N_TREES = 100
NEWTON_COORDINATES = 200  # a Newton step solves a system of this size
N_NEIGHBOURS = 5
NETWORK_HIDDEN, NETWORK_BATCH, NETWORK_STEPS = 64, 64, 1500
FEW_ROWS = 300  # of a tree, unless there are more training patients


@runtime_checkable
class Classifier(Protocol):
    """What a fitted classifier offers."""

    @property
    def classes(self) -> np.ndarray:
        """The classes that training rows had, sorted."""
        ...

    def probabilities(self, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n k"]:
        """Probability of each of ``classes``, rows adding up to 1."""
        ...


@dataclass(frozen=True, eq=False)
class Constant:
    """All that can be learned from rows of one class."""

    classes: np.ndarray

    def probabilities(self, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n 1"]:
        """1 for the only class."""
        return np.ones((len(x), 1))


@dataclass(frozen=True, eq=False)
class Logistic:
    """Linear log odds: one column for two classes, one per class for more."""

    classes: np.ndarray
    weights: Float[np.ndarray, "p k"]
    intercept: Float[np.ndarray, " k"]
    mean: Float[np.ndarray, " p"] | float = 0.0
    std: Float[np.ndarray, " p"] | float = 1.0

    def log_odds(self, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n k"]:
        """Of the second class for two classes; up to a constant per row for more."""
        return ((x - self.mean) / self.std) @ self.weights + self.intercept

    def probabilities(self, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n k"]:
        """Logistic or softmax of the log odds."""
        from scipy.special import expit, softmax

        odds = self.log_odds(x)
        if len(self.classes) > 2:
            return softmax(odds, axis=1)
        return np.hstack([expit(-odds), expit(odds)])


@dataclass(frozen=True, eq=False)
class Forest:
    """A random forest of scikit-learn."""

    classes: np.ndarray
    forest: object

    def probabilities(self, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n k"]:
        """Mean vote of the trees."""
        return self.forest.predict_proba(x)  # type: ignore[attr-defined]


@dataclass(frozen=True, eq=False)
class OnStandardised:
    """A classifier of scikit-learn that reads genes scaled by its training rows."""

    classes: np.ndarray
    model: object
    mean: Float[np.ndarray, " p"]
    std: Float[np.ndarray, " p"]

    def probabilities(self, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n k"]:
        """As the model gives them."""
        scaled = (x - self.mean) / self.std
        return self.model.predict_proba(scaled)  # type: ignore[attr-defined]


def fit_logistic(x: Float[np.ndarray, "n p"], y: np.ndarray, C: float = 1.0) -> Logistic:
    """L2 logistic regression (multinomial for more than two classes) on ``x`` as it is.

    For two classes or more; ``train_classifier`` answers for fewer.
    """
    if 2 * len(x) >= x.shape[1]:
        return _fit(x, y, C)
    square, u = np.linalg.eigh(x @ x.T)
    kept = square > 1e-12 * max(float(square[-1]), 1e-300)
    length = np.sqrt(square[kept])
    model = _fit(u[:, kept] * length, y, C)
    back = x.T @ (u[:, kept] / length)  # (n_vars, rank), orthonormal columns
    return Logistic(model.classes, back @ model.weights, model.intercept)


def _fit(z: Float[np.ndarray, "n r"], y: np.ndarray, C: float) -> Logistic:
    """The same on given coordinates, whatever their number."""
    classes, code = np.unique(y, return_inverse=True)
    if len(classes) == 2 and z.shape[1] <= NEWTON_COORDINATES:
        weights = _newton(z, code.astype(np.float64), C)
        return Logistic(classes, weights[:-1, None], weights[-1:])
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, tol=1e-6, max_iter=10_000).fit(z, y)
    return Logistic(model.classes_, model.coef_.T, model.intercept_)


def _newton(
    z: Float[np.ndarray, "n r"], target: Float[np.ndarray, " n"], C: float
) -> Float[np.ndarray, " r_plus_1"]:
    """Minimise ``C sum log(1 + exp(-s f)) + |w|^2 / 2``; the last weight is the free intercept."""
    from scipy.special import expit

    x = np.column_stack([z, np.ones(len(z))])
    penalty = np.append(np.ones(z.shape[1]), 0.0)
    weights = np.zeros(x.shape[1])
    now = _penalised(weights, x, target, penalty, C)
    for _ in range(200):
        p = expit(x @ weights)
        gradient = C * (x.T @ (p - target)) + penalty * weights
        if np.abs(gradient).max() <= 1e-9 * max(C * len(z), 1.0):
            break
        hessian = C * (x.T * (p * (1.0 - p))) @ x + np.diag(penalty + 1e-12)
        step, size = np.linalg.solve(hessian, gradient), 1.0
        enough = 1e-4 * (gradient @ step)  # of a decrease, for a whole step
        while (then := _penalised(weights - size * step, x, target, penalty, C)) > (
            now - size * enough
        ):
            size /= 2.0
            if size < 1e-8:
                return weights  # no step helps: rounding error
        weights, now = weights - size * step, then
    return weights


def _penalised(
    w: Float[np.ndarray, " r_plus_1"],
    x: Float[np.ndarray, "n r_plus_1"],
    target: Float[np.ndarray, " n"],
    penalty: Float[np.ndarray, " r_plus_1"],
    C: float,
) -> float:
    """What ``_newton`` minimises."""
    f = x @ w
    return float(C * (np.logaddexp(0.0, f) - target * f).sum() + 0.5 * (penalty * w) @ w)


def _moments(
    x: Float[np.ndarray, "n p"],
) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """Mean and sd of each gene, 1 for a constant one."""
    std = x.std(axis=0)
    return x.mean(axis=0), np.where(std > 0, std, 1.0)


def standardised_logistic(x: Float[np.ndarray, "n p"], y: np.ndarray, C: float = 1.0) -> Logistic:
    """Logistic regression on genes scaled to mean 0 and sd 1 over these training rows."""
    mean, std = _moments(x)
    model = fit_logistic((x - mean) / std, y, C)
    return Logistic(model.classes, model.weights, model.intercept, mean, std)


def fit_forest(x: Float[np.ndarray, "n p"], y: np.ndarray, n_train: int, seed: int) -> Forest:
    """100 trees, each on at most ``max(300, n_train)`` bootstrapped rows, on one core."""
    from sklearn.ensemble import RandomForestClassifier

    most = max(FEW_ROWS, n_train)
    forest = RandomForestClassifier(
        n_estimators=N_TREES,
        max_samples=most if most < len(x) else None,
        random_state=seed,
        n_jobs=1,
    ).fit(x, y)
    return Forest(forest.classes_, forest)


def fit_neighbours(x: Float[np.ndarray, "n p"], y: np.ndarray) -> OnStandardised:
    """Votes of the five nearest rows, genes standardised."""
    from sklearn.neighbors import KNeighborsClassifier

    mean, std = _moments(x)
    model = KNeighborsClassifier(min(N_NEIGHBOURS, len(x)), algorithm="brute")
    model.fit((x - mean) / std, y)
    return OnStandardised(model.classes_, model, mean, std)


def fit_network(x: Float[np.ndarray, "n p"], y: np.ndarray, seed: int) -> OnStandardised:
    """A network of one hidden layer of 64 units, genes standardised; as many steps on any rows."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    mean, std = _moments(x)
    batch = min(NETWORK_BATCH, len(x))
    model = MLPClassifier(
        (NETWORK_HIDDEN,),
        batch_size=batch,
        max_iter=max(10, NETWORK_STEPS * batch // len(x)),
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a number of steps ends it
        model.fit((x - mean) / std, y)
    return OnStandardised(model.classes_, model, mean, std)


def train_classifier(
    kind: Kind, x: Float[np.ndarray, "n p"], y: np.ndarray, n_train: int, seed: int
) -> Classifier:
    """A classifier of the given kind; a constant one when ``y`` holds a single class.

    Parameters
    ----------
    n_train
        Number of real training patients, which sets the size of a tree.
    """
    classes = np.unique(y)
    if len(classes) == 1:
        return Constant(classes)
    if kind == "logistic":
        return standardised_logistic(x, y)
    return fit_forest(x, y, n_train, seed)
