"""Ridge regression of class indicators on many features, its penalty chosen by leaving groups out.

With centred features X (n x p), centred indicators Y, and X = U diag(d) V^T,

    W = V diag(d / (d^2 + a)) U^T Y                                                            (1)
    H = U diag(d^2 / (d^2 + a)) U^T,    Y_hat = H Y                                            (2)
    r_g = (I - H_gg)^-1 (Y - Y_hat)_g                                                          (3)

r_g are the residuals of the rows of group g when they are left out of the fit, exactly, so that one
decomposition serves all penalties and all groups. The centre stays that of all rows. A row belongs
to the class whose indicator is largest. Of equally good penalties, the strongest is taken.

Hoerl, Kennard (1970), Technometrics 12, 55-67. doi:10.1080/00401706.1970.10488634
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

EMPTY = {4: 1e-6, 8: 1e-9}  # share of the largest square: no direction, in single and double
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # in units of the mean square of X


@dataclass(frozen=True, eq=False)
class Ridge:
    """A fitted classifier."""

    classes: np.ndarray
    mean: Float[np.ndarray, " p"]
    weights: Float[np.ndarray, "p k"]
    intercept: Float[np.ndarray, " k"]
    penalty: float  # in units of the mean square of X

    def predict(self, x: Float[np.ndarray, "n p"]) -> np.ndarray:
        """Class of each row."""
        scores = (x - self.mean) @ self.weights + self.intercept
        return self.classes[scores.argmax(axis=1)]


def fit_ridge(
    x: Float[np.ndarray, "n p"],
    y: np.ndarray,
    groups: np.ndarray,
    penalties: Sequence[float] = PENALTIES,
) -> Ridge:
    """Eqs. 1-3: the penalty that classifies most rows of left-out groups rightly.

    A penalty is multiplied by ``trace(X^T X) / min(n, p)``, so that it has no unit. The fit has the
    precision of ``x``: single is enough for classes, and takes half the time.
    """
    classes, code = np.unique(y, return_inverse=True)
    indicator = np.eye(len(classes), dtype=x.dtype)[code]
    mean, intercept = x.mean(axis=0), indicator.mean(axis=0)
    x, target = x - mean, indicator - intercept
    u, d, back = _decomposed(x)
    unit = float(np.square(d).sum()) / min(x.shape)
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    right = []
    for penalty in penalties:
        kept = d**2 / (d**2 + penalty * unit)  # (rank,)
        left_out = target - held_out_residuals(u, kept, target, members)
        right.append(int(((left_out + intercept).argmax(axis=1) == code).sum()))
    best = max(range(len(penalties)), key=lambda i: (right[i], penalties[i]))
    gain = 1.0 / (d**2 + penalties[best] * unit)
    weights = back @ (gain[:, None] * (d[:, None] * (u.T @ target)))
    return Ridge(classes, mean, weights, intercept, penalties[best])


def held_out_residuals(
    u: Float[np.ndarray, "n r"],
    kept: Float[np.ndarray, " r"],
    target: Float[np.ndarray, "n k"],
    members: Sequence[np.ndarray],
) -> Float[np.ndarray, "n k"]:
    """Eq. 3 for the rows of each group; groups of one size are solved together."""
    residual = target - u @ (kept[:, None] * (u.T @ target))
    result = np.empty_like(target)
    sizes = np.array([len(rows) for rows in members])
    for size in np.unique(sizes):
        rows = np.stack([own for own in members if len(own) == size])  # (n_groups, size)
        part = u[rows]
        own = np.eye(size, dtype=u.dtype) - (part * kept) @ part.transpose(0, 2, 1)
        result[rows] = np.linalg.solve(own, residual[rows])
    return result


def _decomposed(
    x: Float[np.ndarray, "n p"],
) -> tuple[Float[np.ndarray, "n r"], Float[np.ndarray, " r"], Float[np.ndarray, "p r"]]:
    """U, d and V of the directions that are not numerically empty, by the smaller Gram matrix."""
    wide = x.shape[1] > x.shape[0]
    square, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    there = square > EMPTY[x.itemsize] * max(float(square[-1]), np.finfo(x.dtype).tiny)
    d, vectors = np.sqrt(square[there]), vectors[:, there]
    if wide:
        return vectors, d, x.T @ (vectors / d)
    return x @ (vectors / d), d, vectors
