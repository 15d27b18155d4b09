"""The choices of a training run; importing this needs no PyTorch."""

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from synthome.config import Config

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class TrainingConfig(Config):
    """How a model is fitted.

    ``patience`` counts epochs without a better validation loss, better by the share ``tolerance``
    of it or more. ``steps_per_epoch`` makes an epoch that many minibatches, however many rows there
    are, so that patience, warm-up and the number of epochs mean the same on few rows as on many;
    null is one pass over the rows. ``schedule: cosine`` moves the learning rate once an epoch,
    ``cosine_steps`` after each minibatch, and rises to it over ``warmup_steps`` before.
    ``weight_decay`` is a penalty for ``adam``, and decoupled for ``adamw``. A checkpoint is due
    every ``checkpoint_every`` epochs and, where the rows are streamed from chunks, every
    ``checkpoint_minibatches`` within an epoch. ``threads`` is fixed, and not the number of cores,
    because it changes the last bits of a result. ``compile`` is for GPUs: on a CPU, compiling
    takes longer than it saves.
    """

    learning_rate: PositiveFloat = 1e-3
    max_epochs: PositiveInt = 400
    batch_size: PositiveInt = 64
    steps_per_epoch: PositiveInt | None = None
    optimizer: Literal["adam", "adamw"] = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.0
    max_grad_norm: PositiveFloat | None = None
    kl_warmup_epochs: NonNegativeInt = 0
    schedule: Literal["constant", "plateau", "cosine", "cosine_steps"] = "constant"
    warmup_steps: NonNegativeInt = 0
    plateau_factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    plateau_patience: NonNegativeInt = 30
    validation_fraction: Fraction = 0.0
    patience: PositiveInt | None = None
    tolerance: Fraction = 0.0
    checkpoint_every: PositiveInt = 25
    checkpoint_minibatches: PositiveInt | None = None
    threads: PositiveInt = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False


def onto(default: TrainingConfig) -> BeforeValidator:
    """Lets a mapping change single settings of ``default`` and keep the others."""

    def merge(value: Any) -> Any:
        return default.model_dump() | value if isinstance(value, dict) else value

    return BeforeValidator(merge)
