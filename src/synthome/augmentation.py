"""How many synthetic samples, of which class, at which temperature."""

import numpy as np
from anndata import AnnData
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from synthome.config import Config
from synthome.errors import InputError
from synthome.generator import TrainedGenerator


class SamplingConfig(Config):
    """What is drawn.

    ``class_sizes``, such as ``FSHD=200+control=100``, gives the rows of each class and replaces
    ``n_obs``. ``balanced`` gives every class the same number. ``temperature: null`` is the
    temperature of the trained model.
    """

    n_obs: PositiveInt = 1000
    temperature: PositiveFloat | None = None
    balanced: bool = False
    class_sizes: str | None = None
    seed: NonNegativeInt = 0


def wanted_labels(config: SamplingConfig, classes: np.ndarray) -> list[str] | None:
    """Labels to draw, or None for the class proportions of the training rows.

    Raises
    ------
    InputError
        If ``class_sizes`` cannot be read or names a class that is not there.
    """
    if config.class_sizes is not None:
        sizes = _parse_sizes(config.class_sizes)
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
    labels = wanted_labels(config, np.unique(fitted.train_labels))
    n_obs = config.n_obs if labels is None else len(labels)
    return fitted.sample(n_obs, labels, rng, temperature=config.temperature)


def _parse_sizes(text: str) -> dict[str, int]:
    try:
        pairs = [part.rsplit("=", 1) for part in text.split("+")]
        sizes = {name.strip(): int(number) for name, number in pairs}
    except ValueError:
        sizes = {}
    if not sizes or min(sizes.values()) < 1:
        raise InputError(
            f"class_sizes is {text!r}; write the rows of each class as CLASS=NUMBER, joined by +, "
            "for instance FSHD=200+control=100."
        )
    return sizes
