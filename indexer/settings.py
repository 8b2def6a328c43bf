"""Settings, read once at the edge: qdrant.yaml < environment < command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from backbones.base import Device, Precision
from backbones.errors import VecspectError
from indexer.store.base import Quantization

CONFIG_FILE = Path("qdrant.yaml")
_PREFIX = "VECSPECT_"
_OTHER_VARIABLES = {"VECSPECT_CACHE"}


class SettingsError(VecspectError):
    """A setting is unknown or has a value that cannot be used."""


class Settings(BaseSettings):
    """Where the store is and how categories are learnt; every field is a key of qdrant.yaml."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        yaml_file=CONFIG_FILE,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
    )

    store: str = Field(
        "qdrant_data", validation_alias=AliasChoices("store", "QDRANT_URL", "VECSPECT_STORE")
    )
    api_key: SecretStr | None = Field(
        None, validation_alias=AliasChoices("api_key", "QDRANT_API_KEY", "VECSPECT_API_KEY")
    )
    prefer_grpc: bool = True
    shards: int = Field(1, ge=1)
    replication: int = Field(1, ge=1)
    write_consistency: int = Field(1, ge=1)
    quantization: Quantization | None = None
    backbone: str = "compact"
    weights: Path | None = None
    precision: Precision | None = None
    device: Device = "cpu"
    input_size: int | None = None
    crop: int | None = None
    padding: bool | None = None
    coreset: float = 0.1
    holdout: float = 0.2
    seed: int = 0
    alpha_reject: float | None = None
    alpha_review: float | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags first, then the environment, then the file."""
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)


SettingsT = TypeVar("SettingsT", bound=Settings)


def load_settings(**flags: Any) -> Settings:
    """Settings of this process, as `read_settings`."""
    return read_settings(Settings, **flags)


def read_settings(kind: type[SettingsT], **flags: Any) -> SettingsT:
    """Settings of this process; ``flags`` that are None count as not given.

    Args:
        kind: `Settings`, or a subclass with more keys for the same file and environment.

    Raises:
        SettingsError: an unknown key in the file or environment, or a value of the wrong kind.
    """
    known = {f"{_PREFIX}{name.upper()}" for name in kind.model_fields} | _OTHER_VARIABLES
    unknown = sorted(k for k in os.environ if k.startswith(_PREFIX) and k not in known)
    if unknown:
        raise SettingsError(
            f"unknown environment variable {unknown[0]}. Known: {', '.join(sorted(known))}."
        )
    try:
        return kind(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(_explained(kind, error)) from error
    except Exception as error:  # yaml has its own errors for a malformed file
        reason = " ".join(str(error).split())
        raise SettingsError(f"{CONFIG_FILE} cannot be read: {reason}") from error


def _explained(kind: type[Settings], error: ValidationError) -> str:
    """The first mistake in one line; the value of a secret is not repeated."""
    first = error.errors()[0]
    name = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown setting '{name}' in {CONFIG_FILE}. Known: {', '.join(kind.model_fields)}."
    field = kind.model_fields.get(str(first["loc"][0]))
    secret = field is not None and SecretStr in get_args(field.annotation)
    came = "what was given" if secret else repr(first["input"])
    return f"setting '{name}' cannot be {came}: {first['msg']}."
