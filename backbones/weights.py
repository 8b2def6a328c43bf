"""Finds weights and reads them without executing anything."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from backbones.base import BackboneSpec
from backbones.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor

ASSETS = Path(__file__).parent / "assets"
TORCH_MISSING = (
    "needs torch and timm, which are not installed: `make test` or "
    "`pip install -e '.[torch]'` installs them; --backbone compact does without."
)


@contextlib.contextmanager
def torch_needed(what: str) -> Iterator[None]:
    """Context in which a failed import raises the error that ``what`` needs torch."""
    try:
        yield
    except ImportError as error:
        raise BackboneError(f"backbone '{what}' {TORCH_MISSING}") from error


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bundled_network(spec: BackboneSpec) -> Path:
    """The OpenVINO IR that is shipped with the package."""
    return ASSETS / f"{spec.name}.xml"


def hub_file(spec: BackboneSpec, *, download: bool) -> Path | None:
    """The hub's cached file of timm's weights for ``spec``; if absent, fetched if ``download``.

    Returns None if it is absent and not to be fetched; raises BackboneError if the hub cannot be
    reached.
    """
    try:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache
        from huggingface_hub.constants import ENDPOINT
        from huggingface_hub.utils import get_session
    except ImportError:
        if download:
            raise BackboneError(f"backbone '{spec.name}' {TORCH_MISSING}") from None
        return None
    repository = spec.hub_repository
    cached = try_to_load_from_cache(repository, "model.safetensors")
    if isinstance(cached, str):
        return Path(cached)
    if not download:
        return None
    try:
        # without a network the download itself retries for half a minute: ask once before
        get_session().head(ENDPOINT, timeout=5)
        return Path(hf_hub_download(repository, "model.safetensors"))
    except (
        Exception
    ) as error:  # the hub's client raises its own errors, httpx's and those of the OS
        raise BackboneError(
            f"the weights of '{spec.name}' are not on this machine and the hub could not be "
            f"reached ({type(error).__name__}). Download {repository} elsewhere and pass "
            "--weights FILE, or use --backbone compact."
        ) from error


def load_state(path: Path) -> dict[str, Tensor]:
    """State dict of a ``.safetensors`` or ``.pth``/``.pt`` file; needs torch.

    Pickles are read with ``weights_only=True``, so that a file with code in it is refused.
    """
    if not path.is_file():
        raise BackboneError(f"no weight file at {path}. Give --weights an existing file.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        import torch

        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise BackboneError(f"reading {path.name} {TORCH_MISSING}") from error
    except pickle.UnpicklingError as error:
        raise BackboneError(
            f"{path} holds more than tensors and was not loaded. Save a plain state dict, "
            "best as .safetensors."
        ) from error
    except Exception as error:  # truncated or foreign bytes: each library has its own errors
        raise BackboneError(
            f"{path} is not a readable weight file ({type(error).__name__}). "
            "Expected .safetensors, or a .pth state dict."
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(hasattr(v, "shape") for v in state.values()):
        raise BackboneError(f"{path} does not hold a state dict of tensors.")
    return state
