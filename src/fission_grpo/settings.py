"""The base of every settings class. Settings live beside the code they set; `config.py` composes them into one tree."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Immutable, refuses unknown keys; the line under a field is its documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
