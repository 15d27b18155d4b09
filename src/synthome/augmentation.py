"""How many synthetic samples, of which class, at which temperature."""

import numpy as np
from anndata import AnnData
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from synthome.config import Config
from synthome.errors import InputError
from synthome.generator import TrainedGenerator


class SamplingConfig(Config):
    """What is drawn.

    ``class_sizes`` gives the new rows of each class and replaces ``n_obs``: a number for all,
    ``max`` for as many as the largest training class has, or ``FSHD=200+control=100``. It means new
    rows for every generator. ``balanced`` gives every class the same number. ``temperature: null``
    is the temperature of the trained model.
    """

    n_obs: PositiveInt = 1000
    temperature: PositiveFloat | None = None
    balanced: bool = False
    class_sizes: PositiveInt | str | None = None
    seed: NonNegativeInt = 0


def wanted_labels(config: SamplingConfig, train_labels: np.ndarray) -> list[str] | None:
    """Labels to draw, or None for the class proportions of the training rows.

    Raises
    ------
    InputError
        If ``class_sizes`` cannot be read or names a class that is not there.
    """
    classes = np.unique(train_labels)
    if config.class_sizes is not None:
        sizes = new_rows(config.class_sizes, train_labels)
        unknown = sorted(set(sizes) - set(classes))
        if unknown:
            raise InputError(
                f"class_sizes names {', '.join(unknown)}, but the classes of this cohort are "
                f"{', '.join(classes)}."
            )
        return np.repeat(list(sizes), list(sizes.values())).tolist()
    if config.balanced:
        return np.resize(classes, config.n_obs).tolist()
    return None


def draw(fitted: TrainedGenerator, config: SamplingConfig, rng: np.random.Generator) -> AnnData:
    """A synthetic cohort of the asked size and classes, as log expression."""
    labels = wanted_labels(config, fitted.train_labels)
    n_obs = config.n_obs if labels is None else len(labels)
    return fitted.sample(n_obs, labels, rng, temperature=config.temperature)


def new_rows(class_sizes: int | str, train_labels: np.ndarray) -> dict[str, int]:
    """How many rows are drawn of each class: ``max``, a number, or a number for each."""
    classes, counts = np.unique(train_labels, return_counts=True)
    text = str(class_sizes).strip()
    if text == "max":
        return dict.fromkeys(map(str, classes), int(counts.max()))
    if text.isdecimal() and int(text) > 0:
        return dict.fromkeys(map(str, classes), int(text))
    return _parse_sizes(text)


def published_new_rows(class_size: int, train_labels: np.ndarray) -> dict[str, int]:
    """What the published crossover and SMOTE draw of each class: up to a total of ``class_size``.

    The published samplers of counts draw ``class_size`` new rows instead, so that methods were
    compared on different numbers of rows.
    """
    classes, counts = np.unique(train_labels, return_counts=True)
    return {str(c): max(class_size - int(n), 0) for c, n in zip(classes, counts, strict=True)}


def _parse_sizes(text: str) -> dict[str, int]:
    try:
        pairs = [part.rsplit("=", 1) for part in text.split("+")]
        sizes = {name.strip(): int(number) for name, number in pairs}
    except ValueError:
        sizes = {}
    if not sizes or min(sizes.values()) < 1:
        raise InputError(
            f"class_sizes is {text!r}; write the rows of each class as CLASS=NUMBER, joined by +, "
            "for instance FSHD=200+control=100, or one number for all classes, or max."
        )
    return sizes
