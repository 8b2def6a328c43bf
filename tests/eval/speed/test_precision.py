"""What a number format costs, compared on a small data set with a random network."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from backbones.networks.patchcore import Trunk
from backbones.specs import find_spec
from eval.speed.precision import TORCH, PrecisionRow, compare_precisions, precision_table
from indexer.data.image_records import DatasetError
from indexer.synthetic.dataset import write_dataset


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(Trunk(find_spec("compact")).model.state_dict(), file)
    return file


@pytest.fixture(scope="module")
def rows(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, PrecisionRow]:
    folder = tmp_path_factory.mktemp("data")
    data = write_dataset(folder, "grid", train=6, test_normal=2, test_defective=2, size=96)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VECSPECT_CACHE", str(folder / "cache"))
        found = compare_precisions([data], "compact", weights, images=3)
    return {row.name: row for row in found}


def test_every_format_is_compared_and_torch_comes_first(rows: dict[str, PrecisionRow]) -> None:
    assert list(rows) == [TORCH, "f32", "bf16", "int8"]
    assert rows[TORCH].auroc == ()
    assert all(len(row.auroc) == 1 for name, row in rows.items() if name != TORCH)
    assert all(row.single_ms > 0 and row.batch_ms > 0 for row in rows.values())


def test_fewer_bits_mean_larger_errors(rows: dict[str, PrecisionRow]) -> None:
    f32, bf16, int8 = (rows[name].largest_error for name in ("f32", "bf16", "int8"))
    assert 0 < f32 < 1e-3
    assert f32 < bf16
    assert f32 < int8
    assert math.isfinite(int8)


def test_table_has_a_line_per_format_and_a_column_per_data_set() -> None:
    rows = [
        PrecisionRow(TORCH, 46.83, 40.0, 0.0, ()),
        PrecisionRow("f32", 14.0, 12.25, 2e-6, (0.9323, 0.961)),
    ]
    assert precision_table(rows, [Path("data/grid"), Path("data/tile")]).splitlines() == [
        "|  | ms, one image | ms, batch of 8 | largest feature error | AUROC grid | AUROC tile |",
        "| --- | --- | --- | --- | --- | --- |",
        "| torch f32 | 46.8 | 40.0 | - | - | - |",
        "| f32 | 14.0 | 12.2 | 2.0e-06 | 0.9323 | 0.9610 |",
    ]


def test_data_set_without_test_images_is_refused(weights: Path, tmp_path: Path) -> None:
    data = write_dataset(tmp_path, "grid", train=3, test_normal=0, test_defective=0, size=96)
    with pytest.raises(DatasetError, match="has no test images"):
        compare_precisions([data], "compact", weights)
