"""The base of every configuration class."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Frozen, and a misspelt key is an error instead of a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)
