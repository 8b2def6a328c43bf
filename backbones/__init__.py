"""Turns images, as files or arrays, into patch and image embeddings; nothing here knows Qdrant."""

import sys

# OpenVINO and NNCF report their use to a host on the internet, and write a client id into the home
# folder, wherever this package can be imported; without it they fall back to a stub
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
