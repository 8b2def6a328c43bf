"""Post-training quantisation to int8, calibrated on a category's normal images (NNCF).

Needs the extra ``vecspect[int8]``. Activation ranges come from the normal images, so the network
belongs to the category: its fingerprint includes the images it was calibrated on.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import openvino as ov

from backbones.errors import BackboneError, ImageError
from backbones.families import FAMILIES
from backbones.openvino_runtime import (
    OpenVinoBackbone,
    cached_network,
    fingerprint_of,
    is_whole,
    save,
)
from backbones.pipeline import network_input
from backbones.weights import sha256_of

SUBSET = 128
"""Largest number of images that set the ranges, taken evenly from those given."""


def quantized(backbone: OpenVinoBackbone, images: Sequence[Path]) -> OpenVinoBackbone:
    """The int8 version of ``backbone``, calibrated on at most ``SUBSET`` of the normal ``images``.

    It is cached: the same images and weights are not quantised twice.

    Raises:
        BackboneError: NNCF is not installed, or no image can be read.
    """
    if importlib.util.find_spec("nncf") is None:
        raise BackboneError(
            "--precision int8 needs NNCF, which is not installed: `pip install -e '.[int8]'` "
            "installs it; --precision f32 does without."
        )
    spec, chosen = backbone.spec, images[:: max(1, len(images) // SUBSET)][:SUBSET]
    readable = [path for path in chosen if path.is_file()]
    parts = [backbone.weights_sha256, *sorted(sha256_of(path) for path in readable)]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    network = cached_network(fingerprint_of(spec, digest, "int8"))
    if not is_whole(network):
        model = _quantize(backbone, readable)
        save(partial(ov.save_model, model, compress_to_fp16=False), spec, network, digest, "int8")
    return OpenVinoBackbone(spec, network, "int8", digest, source=backbone.source)


def _quantize(backbone: OpenVinoBackbone, images: Sequence[Path]) -> ov.Model:
    spec, inputs = backbone.spec, []
    for path in images:
        with contextlib.suppress(ImageError):  # the build reports it
            inputs.append(network_input(path, spec).pixels[None])
    if not inputs:
        raise BackboneError("int8 is calibrated on normal images, and none could be read.")
    model = ov.Core().read_model(backbone.network)
    with _quiet():
        import nncf

        family = FAMILIES[spec.family]
        return nncf.quantize(
            model,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            model_type=nncf.ModelType.TRANSFORMER if family.transformer else None,
            ignored_scope=nncf.IgnoredScope(types=list(family.unquantised), validate=False)
            if family.unquantised
            else None,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence NNCF, which draws bars on stdout, prints a banner and warns."""
    nowhere = io.StringIO()
    with (
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
