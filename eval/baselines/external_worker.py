"""Baselines in libraries of their own, queried over a pipe.

This module runs in the environment that `make compare-env` makes, and therefore imports nothing of
this project. It reads one JSON request per line from stdin and answers each with one line of JSON.
Times are measured here, so that the pipe is not counted; arrays are passed as .npy files.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 256
"""Side length in pixels to which anomalib's PatchCore resizes images by default."""


class Server:
    """Server of requests: each public method is one, with JSON values as arguments and answer."""

    def faiss_load(self, *, bank: str) -> dict[str, Any]:
        """Load a bank (M, D) float32 into an exact flat index."""
        import faiss

        vectors = np.load(bank)
        self.flat = faiss.IndexFlatL2(vectors.shape[1])
        self.flat.add(vectors)
        return {"version": faiss.__version__}

    def faiss_search(self, *, queries: str, indices: str) -> dict[str, Any]:
        """Find the nearest bank vector of each of ``queries`` (Q, D), written as (Q,) int64."""
        vectors = np.load(queries)
        began = time.perf_counter()
        _, found = self.flat.search(vectors, 1)
        milliseconds = (time.perf_counter() - began) * 1e3
        np.save(indices, found[:, 0])
        return {"milliseconds": milliseconds}

    def anomalib_fit(
        self,
        *,
        normal: list[str],
        architecture: str,
        weights: str,
        stride_in_1x1: bool,
        coreset: float,
        picks: int,
    ) -> dict[str, Any]:
        """Fit PatchCore on the files ``normal``, with its defaults except weights and metrics.

        Every pick of its selection costs the same, one pass over all patches: only ``picks`` are
        made, and the time for the others is extrapolated.
        """
        from anomalib.data import Folder
        from anomalib.engine import Engine
        from anomalib.models.components.sampling import k_center_greedy

        links = Path("normal")
        links.mkdir()
        for number, file in enumerate(normal):
            (links / f"{number:05}{Path(file).suffix}").symlink_to(file)
        began = time.perf_counter()
        self.anomalib = _patchcore(architecture, weights, stride_in_1x1)
        clock = _PickClock(k_center_greedy.KCenterGreedy, coreset, picks)
        data = Folder(
            name="normal",
            normal_dir=links.resolve(),
            test_split_mode="none",
            val_split_mode="none",
            num_workers=os.cpu_count() or 1,
        )
        engine = Engine(
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            limit_val_batches=0,  # the data module has no test images and would fail
            default_root_dir="engine",
        )
        with clock.installed():
            engine.fit(model=self.anomalib, datamodule=data)
        seconds = time.perf_counter() - began
        status = Path("/proc/self/status").read_text()
        return {
            "seconds": seconds + clock.seconds_of_the_rest,
            "seconds_measured": seconds,
            "picks": clock.count,
            "picks_made": clock.made,
            "peak_mib": int(status.split("VmHWM:")[1].split()[0]) / 1024,
            "version": importlib.metadata.version("anomalib"),
        }

    def anomalib_prepare(self, *, bank: str) -> dict[str, Any]:
        """Put ``bank`` (M, D) into the fitted model and export the model to OpenVINO."""
        import torch
        from anomalib.deploy import OpenVINOInferencer

        self.anomalib.model.memory_bank = torch.from_numpy(np.load(bank))
        self.anomalib.eval()
        # by default the export accepts only batches of two (2.7.0 with torch 2.15)
        exported = self.anomalib.to_openvino(
            export_root=Path("export"),
            input_size=(SIZE, SIZE),
            onnx_kwargs={"dynamic_axes": None, "dynamic_shapes": None},
        )
        self.openvino = OpenVINOInferencer(path=exported, device="CPU")
        return {}

    def anomalib_torch(self, *, path: str) -> dict[str, Any]:
        """Raw score of a file that the torch model reads, resizes, scores and maps."""
        import torch
        from anomalib.data.utils import read_image

        began = time.perf_counter()
        with torch.inference_mode():
            output = self.anomalib(read_image(path, as_tensor=True)[None])
        milliseconds = (time.perf_counter() - began) * 1e3
        return {"milliseconds": milliseconds, "score": float(output.pred_score)}

    def anomalib_openvino(self, *, path: str) -> dict[str, Any]:
        """Raw score of a file by the OpenVINO export, which accepts only one image size."""
        from PIL import Image

        began = time.perf_counter()
        image = Image.open(path).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        output = self.openvino.predict(image)
        milliseconds = (time.perf_counter() - began) * 1e3
        return {"milliseconds": milliseconds, "score": float(np.ravel(output.pred_score)[0])}


class _PickClock:
    """Stops a selection after some picks and times them."""

    def __init__(self, sampler: Any, share: float, picks: int) -> None:
        self.count = self.made = 0
        self._sampler = sampler
        self._share = share
        self._picks = picks
        self._times: list[float] = []

    @property
    def seconds_of_the_rest(self) -> float:
        """Seconds that the remaining picks would have taken."""
        each = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        return each * (self.count - self.made)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Context in which samplers stop early and note the time of each pick."""
        begin, pick = self._sampler.__init__, self._sampler.get_new_idx

        def begin_short(sampler: Any, embedding: Any, sampling_ratio: float) -> None:
            begin(sampler, embedding, sampling_ratio)
            self.count = int(len(embedding) * self._share)
            self.made = min(self._picks, self.count)
            sampler.coreset_size = self.made

        def timed_pick(sampler: Any) -> Any:
            self._times.append(time.perf_counter())
            return pick(sampler)

        self._sampler.__init__, self._sampler.get_new_idx = begin_short, timed_pick
        try:
            yield
        finally:
            self._sampler.__init__, self._sampler.get_new_idx = begin, pick


def _patchcore(architecture: str, weights: str, stride_in_1x1: bool) -> Any:
    from anomalib.models import Patchcore
    from safetensors.torch import load_file

    # without the post-processor the scores stay raw: it clamps them to [0, 1]
    model = Patchcore(
        backbone=architecture,
        pre_trained=False,
        post_processor=False,
        evaluator=False,
        visualizer=False,
    )
    trunk = model.model.feature_extractor.feature_extractor
    state = {name: value.float() for name, value in load_file(weights).items()}
    missing = trunk.load_state_dict(state, strict=False).missing_keys
    unmet = [name for name in missing if not name.endswith("num_batches_tracked")]
    if unmet:
        raise RuntimeError(f"{weights} lacks {unmet[0]}")
    if stride_in_1x1:
        for stage in (trunk.layer2, trunk.layer3):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return model


def serve() -> None:
    """Answer requests until stdin ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # a library's output is no answer
    server = Server()
    for line in sys.stdin:
        request = json.loads(line)
        method: Callable[..., dict[str, Any]] = getattr(server, request.pop("call"))
        answers.write(json.dumps(method(**request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
