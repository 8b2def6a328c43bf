"""int8 by post-training quantization, calibrated on a category's normal images (NNCF).

Needs the extra ``vecspect[int8]``. Activations get the ranges that the normal images show, so the
network belongs to the category: its fingerprint holds the images it was calibrated on.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from backbones.decode import load_image
from backbones.errors import BackboneError, ImageError
from backbones.geometry import to_input
from backbones.openvino_runtime import (
    OpenVinoBackbone,
    cached_network,
    fingerprint_of,
    is_whole,
    save,
)
from backbones.weights import sha256_of

SUBSET = 128
"""Images that give the ranges: evenly taken over those given."""


def quantized(backbone: OpenVinoBackbone, images: Sequence[Path]) -> OpenVinoBackbone:
    """``backbone`` in int8, calibrated on at most ``SUBSET`` of the normal ``images``.

    Kept in the cache: the same images and weights are not quantised twice.

    Raises:
        BackboneError: NNCF is not installed, or no image can be read.
    """
    if importlib.util.find_spec("nncf") is None:
        raise BackboneError(
            "--precision int8 needs NNCF, which is not installed: `pip install -e '.[int8]'` "
            "installs it; --precision f32 does without."
        )
    chosen = list(images)[:: max(1, len(images) // SUBSET)][:SUBSET]
    spec = backbone.spec
    readable = [path for path in chosen if path.is_file()]
    parts = [backbone.weights_sha256, *sorted(sha256_of(path) for path in readable)]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    network = cached_network(fingerprint_of(spec, digest, "int8"))
    if not is_whole(network):
        save(_quantize(backbone, readable), spec, network, digest, "int8")
    return OpenVinoBackbone(spec, network, "int8", digest, source=backbone.source)


def _quantize(backbone: OpenVinoBackbone, images: Sequence[Path]) -> ov.Model:
    inputs = list(_inputs(backbone, images))
    if not inputs:
        raise BackboneError("int8 is calibrated on normal images, and none could be read.")
    model = ov.Core().read_model(backbone.network)
    with _quiet():
        import nncf

        transformer = nncf.ModelType.TRANSFORMER if backbone.spec.family == "vit" else None
        return nncf.quantize(
            model,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            model_type=transformer,
            # maps with negative values: OpenVINO pads them with a code that does not mean zero
            ignored_scope=nncf.IgnoredScope(types=["AvgPool"], validate=False)
            if backbone.spec.family == "patchcore"
            else None,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A library prints nothing: NNCF draws bars on stdout, announces itself and warns."""
    nowhere = io.StringIO()
    with (
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _inputs(backbone: OpenVinoBackbone, images: Sequence[Path]) -> Iterator[NDArray[np.uint8]]:
    spec = backbone.spec
    for path in images:
        try:
            loaded = load_image(path, size_hint=spec.input_size)
        except ImageError:
            continue  # the build names it
        yield to_input(loaded.pixels, spec.input_size, spec.crop)[None]
