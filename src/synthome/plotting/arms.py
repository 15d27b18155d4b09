"""The arms that figures compare: real training rows, real test rows, synthetic rows."""

from dataclasses import dataclass

import numpy as np
from anndata import AnnData

from synthome.anndata_schema import SPLIT, expression, labels
from synthome.errors import InputError


@dataclass(frozen=True)
class Arms:
    """Log expression and class of each arm, on the same genes.

    ``train``, ``test`` and ``synthetic`` are (n_obs, n_vars) of their arm; ``test`` may have no
    rows. Labels are text, (n_obs,).
    """

    genes: np.ndarray
    train: np.ndarray
    test: np.ndarray
    synthetic: np.ndarray
    train_labels: np.ndarray
    test_labels: np.ndarray
    synthetic_labels: np.ndarray

    @property
    def classes(self) -> list[str]:
        """Every class that occurs, in alphabetical order."""
        arms = (self.train_labels, self.test_labels, self.synthetic_labels)
        return sorted(set(np.concatenate(arms).tolist()))


def read_arms(real: AnnData, synthetic: AnnData) -> Arms:
    """Align a prepared cohort and its synthetic rows on the genes that scores are computed on.

    Rows of ``real`` whose ``obs["split"]`` is ``test`` form the test arm; without that column all
    of them are training rows. The genes are those of ``var["highly_variable"]`` where given.

    Raises
    ------
    InputError
        If the two share fewer than two genes, or an arm that must have rows has fewer than 2.
    """
    held = real.var.get("highly_variable")
    genes = real.var_names if held is None else real.var_names[held.to_numpy(dtype=bool)]
    genes = genes[genes.isin(synthetic.var_names)]
    is_test = (
        (real.obs[SPLIT].astype(str) == "test").to_numpy()
        if SPLIT in real.obs
        else np.zeros(real.n_obs, dtype=bool)
    )
    if len(genes) < 2 or (~is_test).sum() < 2 or synthetic.n_obs < 2:
        raise InputError(
            "A figure of real and synthetic samples needs at least 2 shared genes and 2 rows of "
            f"each, but there are {len(genes)} shared genes, {(~is_test).sum()} real training "
            f"rows and {synthetic.n_obs} synthetic rows."
        )
    x = expression(real[:, genes])
    real_labels = labels(real)
    return Arms(
        genes=genes.to_numpy(dtype=str),
        train=x[~is_test],
        test=x[is_test],
        synthetic=expression(synthetic[:, genes]),
        train_labels=real_labels[~is_test],
        test_labels=real_labels[is_test],
        synthetic_labels=labels(synthetic),
    )
