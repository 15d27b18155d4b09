"""The same system under other settings: another architecture, or one option turned.

And, in its place, the generator whose training is differentially private.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

from synthome.errors import InputError
from synthome.evaluation.parallel import Make
from synthome.models.registry import Architecture, GeneratorSettings

logger = logging.getLogger(__name__)


def makers(settings: GeneratorSettings, architectures: Sequence[str]) -> dict[str, Make]:
    """Makers of several architectures of a system, by the name of their generator.

    Raises
    ------
    InputError
        If the system has no architecture of that name.
    """
    found: dict[str, Make] = {}
    for name in architectures:
        if name not in settings.architectures:
            raise InputError(
                f"The study names the architecture {name!r}, but there are only: "
                f"{', '.join(settings.architectures)}. Change study.architectures."
            )
        generator = settings.architectures[name].generator
        chosen = settings.model_copy(update={"architecture": name})
        found[name if generator in found else generator] = chosen.build
    return found


def with_option(settings: GeneratorSettings, option: str) -> Callable[[float], Make] | None:
    """Makes a maker from a value of ``option``; None when the generator has no such option."""
    chosen = settings.architectures[settings.architecture]
    if option not in type(chosen.checked()).model_fields:
        return None

    def turned(value: float) -> Make:
        options: dict[str, Any] = {option: value}
        return partial(chosen.build, **options)

    return turned


def with_epsilon() -> Callable[[float], Make] | None:
    """Makes a maker of ``dp_vae`` from epsilon; None, and a line, where Opacus is not installed.

    Its noise is seeded: what is measured can be measured again, and nothing is released.
    """
    if find_spec("opacus") is None:
        logger.warning(
            'Left out differentially private training: pip install -e ".[private]" adds it.'
        )
        return None

    def private(epsilon: float) -> Make:
        options = {"epsilon": epsilon, "noise": "seeded"}
        return Architecture(generator="dp_vae", options=options).build

    return private
