"""Settings, read once at the edge: file < environment < command line."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from backbones.base import Device, Precision
from backbones.errors import VecspectError
from indexer.store.base import Quantization

CONFIG_FILE = Path("qdrant.yaml")
CONFIG_VARIABLE = "VECSPECT_CONFIG"
"""Environment variable that names another file."""
_PREFIX = "VECSPECT_"
_ALSO = {"store": "QDRANT_URL", "api_key": "QDRANT_API_KEY"}
_NO_SETTINGS = {CONFIG_VARIABLE, "VECSPECT_CACHE"}
_OF_QDRANT = {"cluster", "gpu", "log_level", "service", "storage", "telemetry_disabled", "tls"}


class SettingsError(VecspectError):
    """Raised when a setting is unknown or its value cannot be used."""


class Settings(BaseModel):
    """Location of the store and defaults for learning; every field is a key of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    store: str = "qdrant_data"
    api_key: SecretStr | None = None
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


SettingsT = TypeVar("SettingsT", bound=Settings)


@dataclass(frozen=True, slots=True)
class Given:
    """A given value of a setting, and its origin: a file, a variable or ``flag``."""

    value: Any
    origin: str


def load_settings(**flags: Any) -> Settings:
    """Settings of this process, without flags, see `read_settings`."""
    return read_settings(Settings, **flags)


def read_settings(kind: type[SettingsT], **flags: Any) -> SettingsT:
    """Settings of this process; ``flags`` that are None count as not given.

    Args:
        kind: `Settings`, or a subclass with more keys for the same file and environment.

    Raises:
        SettingsError: the file or environment holds an unknown key or a value of the wrong type.
    """
    given = given_settings(kind, **flags)
    try:
        return kind(**{name: one.value for name, one in given.items()})
    except ValidationError as error:
        raise SettingsError(_explained(kind, given, error)) from error


def given_settings(kind: type[Settings], **flags: Any) -> dict[str, Given]:
    """The settings that are given, by name; all others have their defaults.

    Raises:
        SettingsError: the file or environment holds an unknown key.
    """
    of_flags = {k: Given(value, "flag") for k, value in flags.items() if value is not None}
    return {**_from_file(kind), **_from_environment(kind), **of_flags}


def _from_file(kind: type[Settings]) -> dict[str, Given]:
    named = os.environ.get(CONFIG_VARIABLE)
    file = Path(named) if named else CONFIG_FILE
    if not file.exists():
        if named:
            raise SettingsError(f"no settings file at {file}. Name an existing one, or none.")
        return {}
    content = _read_yaml(file)
    _check_keys(kind, file, content)
    return {name: Given(value, str(file.resolve())) for name, value in content.items()}


def _read_yaml(file: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{file} cannot be read: {reason}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(
            f"{file} cannot be read: expected lines of `setting: value`, "
            f"got a {type(content).__name__}"
        )
    return {str(name): value for name, value in content.items()}


def _check_keys(kind: type[Settings], file: Path, content: Mapping[str, Any]) -> None:
    unknown = [name for name in content if name not in kind.model_fields]
    if not unknown:
        return
    way_out = "vecspect --config FILE COMMAND (an empty FILE for the defaults)"
    foreign = {"services": "a Docker Compose file"} | dict.fromkeys(
        _OF_QDRANT, "the configuration of a Qdrant server"
    )
    if known := [foreign[name] for name in unknown if name in foreign]:
        raise SettingsError(
            f"{file} is {known[0]}, expected the settings of vecspect. "
            f"Name another file: {way_out}."
        )
    raise SettingsError(
        f"unknown setting '{unknown[0]}' in {file}. Known: {', '.join(kind.model_fields)}. "
        f"Is it the file of another program? {way_out}."
    )


def _from_environment(kind: type[Settings]) -> dict[str, Given]:
    """Values of the variables that are set and not empty; those with vecspect's prefix win."""
    variables = {f"{_PREFIX}{name.upper()}": name for name in kind.model_fields}
    known = set(variables) | _NO_SETTINGS
    unknown = sorted(k for k in os.environ if k.startswith(_PREFIX) and k not in known)
    if unknown:
        raise SettingsError(
            f"unknown environment variable {unknown[0]}. Known: {', '.join(sorted(known))}."
        )
    given = {}
    for variable, name in variables.items():
        for one in (variable, _ALSO.get(name, variable)):
            if text := os.environ.get(one):
                given[name] = Given(_parsed(kind, name, text), one)
                break
    return given


def _parsed(kind: type[Settings], name: str, text: str) -> Any:
    """A list parsed from JSON; any other text is returned unchanged."""
    if get_origin(kind.model_fields[name].annotation) is not list:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _explained(kind: type[Settings], given: Mapping[str, Given], error: ValidationError) -> str:
    """The first mistake in one line, without the value of a secret."""
    first = error.errors()[0]
    name = ".".join(str(step) for step in first["loc"])
    field = str(first["loc"][0])
    secret = SecretStr in get_args(kind.model_fields[field].annotation)
    came = "what was given" if secret else repr(first["input"])
    return f"setting '{name}' cannot be {came}: {first['msg']} (from {given[field].origin})."
