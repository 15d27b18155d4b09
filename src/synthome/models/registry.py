"""Generators by name: made from their settings, or rebuilt from what they wrote down.

A model is imported when it is asked for, so that naming one costs no PyTorch.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from synthome.config import Config
from synthome.errors import InputError
from synthome.generator import Generator, TrainedGenerator
from synthome.state_file import State, read_state

_GENERATORS = {  # name -> class, and its config where it has options
    "rare_vae": "synthome.models.rare_vae:RareVAEGenerator:RareVAEConfig",
    "published_vae": "synthome.models.published_vae:PublishedVAEGenerator:PublishedVAEConfig",
    "ldvae": "synthome.models.ldvae:LDVAEGenerator:LDVAEConfig",
    "spatial_gvae": "synthome.models.spatial_gvae:SpatialGVAEGenerator:SpatialGVAEConfig",
    "published_cycle_ae": (
        "synthome.models.published_cycle_ae:PublishedCycleAEGenerator:PublishedCycleAEConfig"
    ),
    "cycle_ae": "synthome.models.cycle_ae:CycleAEGenerator:CycleAEConfig",
    "omics_lm": "synthome.models.omics_lm:OmicsLMGenerator:OmicsLMConfig",
    "gan": "synthome.models.gan:GANGenerator:GANConfig",
    "wgan_gp": "synthome.models.wgan_gp:WGANGPGenerator:WGANGPConfig",
    "dp_vae": "synthome.models.dp_vae:DPVAEGenerator:DPVAEConfig",
    "class_normal": "synthome.samplers.classical:ClassNormal:ClassNormalConfig",
    "local_gamma_poisson": "synthome.samplers.classical:LocalGammaPoisson:LocalGammaPoissonConfig",
    "moments": "synthome.samplers.moments:MomentSampler:MomentSamplerConfig",
    "crossover": "synthome.samplers.crossover:Crossover:CrossoverConfig",
    "smote": "synthome.samplers.classical:SMOTESampler:SMOTEConfig",
    "independent_noise": "synthome.samplers.controls:IndependentNoise",
    "shuffled_genes": "synthome.samplers.controls:ShuffledGenes",
    "copies": "synthome.samplers.controls:Copies",
    "bootstrap": "synthome.samplers.controls:Bootstrap",
}


class NoOptions(Config):
    """What a generator without choices accepts."""


def _classes(name: str) -> tuple[Any, Any]:
    """The class of a generator, and that of its config."""
    if name not in _GENERATORS:
        raise InputError(
            f"There is no generator called {name!r}; there are: {', '.join(_GENERATORS)}."
        )
    module, generator, *config = _GENERATORS[name].split(":")
    loaded = import_module(module)
    return getattr(loaded, generator), getattr(loaded, config[0]) if config else NoOptions


class Architecture(Config):
    """A generator by name, and the options of its own config class."""

    generator: str
    options: dict[str, Any] = Field(default_factory=dict)

    def checked(self, **overrides: Any) -> Config:
        """The options as the config of that generator; ``overrides`` come last.

        Raises
        ------
        InputError
            If there is no such generator.
        ValidationError
            If it has no such option.
        """
        return _classes(self.generator)[1].model_validate({**self.options, **overrides})

    def build(self, seed: int, **overrides: Any) -> Generator:
        """An unfitted generator, trained or not."""
        config = self.checked(**overrides)
        generator = _classes(self.generator)[0]
        return generator() if isinstance(config, NoOptions) else generator(config, seed=seed)


class GeneratorSettings(Config):
    """Which architecture of a system is used, and the options of each.

    The options of the chosen one are checked as soon as the parameters are read. ``ranks``
    processes train it side by side, one on each GPU; see ``training.ranks``.
    """

    architecture: str
    seed: NonNegativeInt = 0
    ranks: PositiveInt = 1
    architectures: dict[str, Architecture]

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if self.architecture not in self.architectures:
            raise ValueError(
                f"there is no architecture {self.architecture!r}; there are: "
                f"{', '.join(self.architectures)}"
            )
        self.build()
        return self

    def build(
        self, seed: int | None = None, temperature: PositiveFloat | None = None
    ) -> TrainedGenerator:
        """An unfitted generator; ``seed`` and ``temperature`` override the settings."""
        overrides = {} if temperature is None else {"temperature": temperature}
        chosen = self.architectures[self.architecture]
        return chosen.build(self.seed if seed is None else seed, **overrides)  # type: ignore


def from_state(state: State) -> TrainedGenerator:
    """The fitted generator that wrote ``state``."""
    arrays, facts = state
    return _classes(facts["generator"])[0].from_state(arrays, facts)


def load_generator(path: str | Path) -> TrainedGenerator:
    """The fitted generator in a weights file."""
    return from_state(read_state(Path(path)))
