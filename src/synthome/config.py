"""The base of every configuration class."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Config(BaseModel):
    """Frozen, and a misspelt key is an error instead of a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def split_names(value: Any) -> Any:
    """Names from text joined by ``+``, since Kedro splits ``--params`` at commas."""
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split("+") if name.strip())
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(split_names)]
