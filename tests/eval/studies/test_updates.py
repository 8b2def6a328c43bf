from __future__ import annotations

from pathlib import Path

import pytest

from backbones.base import Backbone
from eval.studies.updates import Finding, study_updates
from indexer.data.dataset import read_dataset


def test_update_study_tells_every_finding(
    network: Backbone, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.studies.drift_latency.RUNS", 2)
    monkeypatch.setattr("eval.studies.drift_latency.STREAM", 40)
    findings: list[Finding] = []
    study_updates(read_dataset(dataset), network, on_finding=findings.append)
    names = [name for name, _ in findings]
    assert len(names) == len(set(names)) == 16
    for start in ("image AUROC, conformal", "planted defects", "half learnt", "images until"):
        assert any(name.startswith(start) for name in names), start
