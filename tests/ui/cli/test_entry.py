"""The command line from outside: what it prints where, what it writes, and how it ends."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image

from indexer.catalog.commits import find_entry, write_entry
from indexer.data.image_records import read_dataset
from indexer.store.open import open_store
from indexer.synthetic.dataset import write_dataset
from ui.cli import entry as cli
from ui.cli import formatting

ROOT = Path(__file__).parents[2]
MAIN = "from ui.cli.entry import main; main()"
TORCH_BLOCKED = """
import json, sys
for name in ("torch", "timm", "torchvision", "huggingface_hub"):
    sys.modules[name] = None
from ui.cli.entry import main
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        assert not end.code, arguments
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code and the lines it printed."""

    code: int
    out: list[str]
    err: list[str]

    @property
    def json_lines(self) -> list[dict[str, Any]]:
        return [strict_json(line) for line in self.out]


Vecspect = Callable[..., Ended]


def strict_json(text: str) -> Any:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is not JSON")

    return json.loads(text, parse_constant=refuse)


def environment(**variables: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("VECSPECT_", "QDRANT_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", **variables}


def process(*arguments: object, cwd: Path, program: str = MAIN, **variables: str) -> Ended:
    """The command in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout.splitlines(), ended.stderr.splitlines())


@dataclass(frozen=True)
class Shop:
    """A folder in which `vecspect index` was run, and how that ended; read only."""

    folder: Path
    indexed: Ended

    @property
    def store(self) -> str:
        return str(self.folder / "qdrant_data")


@pytest.fixture(scope="module")
def shop(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    return Shop(folder, process("index", dataset, "-c", "grid", "--coreset", "0.02", cwd=folder))


@pytest.fixture
def vecspect(
    shop: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Vecspect:
    """The command in this process, in an empty folder, on the shop's store."""
    for name in [n for n in os.environ if n.startswith(("VECSPECT_", "QDRANT_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("VECSPECT_STORE", shop.store)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # it would outlive the command

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["vecspect", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return Ended(int(end.value.code or 0), out.splitlines(), err.splitlines())

    return run


def queries_below(dataset: Path) -> list[str]:
    return [str(record.path) for record in read_dataset(dataset) if record.split == "test"]


def only_line(ended: Ended) -> str:
    """The one line with which a command explains its failure."""
    assert ended.code == 1
    assert ended.out == []
    (line,) = ended.err
    assert line.startswith("vecspect: ")
    return line


def write_noise(path: Path) -> Path:
    """Nothing like any product: must be rejected by whatever network."""
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG file that announces pixels it does not have."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_index_says_what_it_learnt_and_keeps_it_in_the_default_store(shop: Shop) -> None:
    assert shop.indexed.code == 0, shop.indexed.err
    assert shop.indexed.err == []
    assert shop.indexed.out[0].startswith("grid (compact): learnt as revision 1 in ")
    assert "266 patches of 13 normal images, 3 more calibrate, 10 in the" in shop.indexed.out[0]
    assert shop.indexed.out[1].startswith("reject above ")
    assert {path.name for path in shop.folder.iterdir()} == {"qdrant_data"}


def test_indexing_again_changes_nothing_and_another_level_needs_no_image(
    vecspect: Vecspect, learnt_copy: Callable[[str], Path], dataset: Path
) -> None:
    store = learnt_copy("again")
    again = ("index", dataset, "-c", "grid", "--coreset", 0.02, "--store", store)
    first = vecspect(*again)
    assert (first.code, first.err) == (0, [])
    assert first.out[0] == "grid (compact): nothing changed, revision 1 stands."
    changed = vecspect(*again, "--reject", 0.5)
    assert changed.out[0].endswith("stands. The levels were changed, as revision 2.")
    status = vecspect("status", "--json", "--store", store)
    (category,) = strict_json("\n".join(status.out))["categories"]
    assert (category["alpha_reject"], category["revision"]) == (0.5, 2)


def test_score_prints_one_strict_json_object_a_line_and_nothing_else(
    vecspect: Vecspect, dataset: Path
) -> None:
    ended = vecspect("score", dataset / "test", "-c", "grid", "--json")
    assert (ended.code, ended.err) == (0, [])
    assert sorted(fields["path"] for fields in ended.json_lines) == sorted(queries_below(dataset))
    assert {fields["revision"] for fields in ended.json_lines} == {1}


def test_score_prints_a_line_an_image_for_people(vecspect: Vecspect, dataset: Path) -> None:
    files = queries_below(dataset)[:2]
    ended = vecspect("score", *files, "-c", "grid")
    assert [line.rsplit("  ", 1)[1] for line in ended.out] == files
    assert all(re.match(r"(ok|review|reject) +score [\d.]+ +p 0\.\d{4} |ok", x) for x in ended.out)


def test_score_writes_a_csv_file_of_the_same_results(vecspect: Vecspect, dataset: Path) -> None:
    ended = vecspect("score", dataset / "test", "-c", "grid", "--csv", "out/results.csv", "--json")
    assert [path.name for path in Path("out").iterdir()] == ["results.csv"]
    with Path("out/results.csv").open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    assert tuple(header) == formatting.CSV_COLUMNS
    assert len(rows) == 10
    for row, fields in zip(rows, ended.json_lines, strict=True):
        cells = dict(zip(header, row, strict=True))
        assert (cells["path"], cells["verdict"]) == (fields["path"], fields["verdict"])
        assert float(cells["score"]) == fields["score"]
        box = [int(cells[f"box_{side}"]) for side in ("x", "y", "width", "height")]
        assert box == fields["box"]
        assert cells["evidence_path"] == fields["evidence"]["path"]
        assert cells["map"] == ""


def test_csv_alone_keeps_stdout_quiet(vecspect: Vecspect, dataset: Path) -> None:
    ended = vecspect("score", queries_below(dataset)[0], "-c", "grid", "--csv", "results.csv")
    assert ended == Ended(0, [], [])


def test_maps_are_pictures_named_in_the_results_with_no_name_used_twice(
    vecspect: Vecspect, dataset: Path
) -> None:
    ended = vecspect("score", dataset / "test", "-c", "grid", "--maps", "maps", "--json")
    named = [fields["map"] for fields in ended.json_lines]
    assert len(set(named)) == 10
    assert {Path(name) for name in named} == set(Path("maps").iterdir())
    with Image.open(named[0]) as picture:
        picture.load()
        assert picture.format == "PNG"


def test_similar_prints_the_nearest_images_without_the_query(
    vecspect: Vecspect, dataset: Path
) -> None:
    query = queries_below(dataset)[0]
    ended = vecspect("similar", query, "-c", "grid", "--json", "--top", 7)
    assert (ended.code, ended.err) == (0, [])
    neighbors = ended.json_lines
    assert len(neighbors) == 7
    assert query not in [neighbor["path"] for neighbor in neighbors]
    assert {tuple(neighbor) for neighbor in neighbors} == {
        (
            *("image_id", "category", "path", "label", "defect_type", "split"),
            *("distance", "verdict", "fields"),
        )
    }
    table = vecspect("similar", query, "-c", "grid", "--label", "defective", "--top", 1)
    assert [line.split()[0] for line in table.out[:2]] == ["distance", "--------"]
    none = vecspect("similar", query, "-c", "grid", "--defect-type", "unheard-of")
    assert none == Ended(0, [], ["no image of the library matches these filters."])


def test_status_lists_the_categories(vecspect: Vecspect, shop: Shop) -> None:
    ended = vecspect("status", "--json")
    assert (ended.code, ended.err) == (0, [])
    status = strict_json("\n".join(ended.out))
    assert status["store"] == shop.store
    (category,) = status["categories"]
    assert (category["category"], category["backbone"], category["revision"]) == (
        "grid",
        "compact",
        1,
    )
    assert (category["bank_patches"], category["smallest_alpha"]) == (266, 0.25)
    table = vecspect("status")
    assert table.out[0] == f"store {shop.store}"
    assert table.out[-1].startswith("grid ")


def test_backbones_lists_every_backbone_with_its_state(vecspect: Vecspect) -> None:
    ended = vecspect("backbones")
    assert ended.code == 0
    assert "bundled" in next(line for line in ended.out if line.startswith("compact "))
    assert any(line.startswith("patchcore-wide_resnet50_2 ") for line in ended.out)


def test_benchmark_writes_its_four_files_and_leaves_the_store_alone(
    vecspect: Vecspect, tmp_path: Path
) -> None:
    small = write_dataset(
        tmp_path / "data", "tile", train=4, test_normal=2, test_defective=2, size=64
    )
    ended = vecspect("benchmark", small, "--out", "out", "--coreset", 0.02)
    assert (ended.code, ended.err) == (0, [])
    assert ended.out[-1] == "report: out/report.html"
    files = {path.name for path in Path("out").iterdir()}
    assert files == {
        "benchmark.json", "benchmark.csv", "benchmark.md", "report.html", "pictures"
    }  # fmt: skip
    stored = strict_json(Path("out/benchmark.json").read_text(encoding="utf-8"))
    assert [report["category"] for report in stored["reports"]] == ["tile"]
    assert stored["command"].startswith("vecspect benchmark ")
    (category,) = strict_json("\n".join(vecspect("status", "--json").out))["categories"]
    assert category["category"] == "grid"


def test_files_that_are_no_images_are_named_with_a_reason_and_the_others_are_scored(
    vecspect: Vecspect, dataset: Path, tmp_path: Path
) -> None:
    good = queries_below(dataset)[:4]
    bad = {
        "missing.png": "there is no such file",
        "empty.png": "the file is empty",
        "truncated.png": "damaged or cut short",
        "text.png": "expected an image",
        "tiny.png": "expected at least 8 x 8 pixels, got 1 x 1",
        "huge.png": "expected at most 100 megapixels",
    }
    (tmp_path / "empty.png").touch()
    (tmp_path / "truncated.png").write_bytes(Path(good[0]).read_bytes()[:3000])
    (tmp_path / "text.png").write_text("hello")
    Image.new("RGB", (1, 1)).save(tmp_path / "tiny.png")
    (tmp_path / "huge.png").write_bytes(png_header(20_000, 10_000))
    files = [good[0], *(str(tmp_path / name) for name in bad), *good[1:]]
    ended = vecspect("score", *files, "-c", "grid", "--json")
    assert ended.code == 1
    assert [fields["path"] for fields in ended.json_lines] == good
    assert len(ended.err) == len(bad)
    for (name, reason), line in zip(bad.items(), ended.err, strict=True):
        assert re.match(rf"skipped {tmp_path / name}: .*{reason}", line)


def test_images_skipped_while_learning_are_named_and_the_rest_is_learnt(
    vecspect: Vecspect, dataset: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "normal"
    shutil.copytree(dataset / "train/good", folder)
    (folder / "text.png").write_text("hello")
    shutil.copy(folder / "000.png", folder / "copy.png")
    ended = vecspect("index", folder, "-c", "n", "--coreset", 0.01, "--store", tmp_path / "store")
    assert ended.code == 1
    learnt = re.search(r"of (\d+) normal images, (\d+) more calibrate", ended.out[0])
    assert learnt is not None
    assert sum(map(int, learnt.groups())) == 16
    assert ended.err[0].startswith(f"left out {folder / 'copy.png'}: same bytes as another")
    assert ended.err[1].startswith(f"skipped {folder / 'text.png'}: expected an image")
    assert len(ended.err) == 2


def test_rejected_image_fails_the_command_only_if_asked_to(
    vecspect: Vecspect, tmp_path: Path
) -> None:
    noise = write_noise(tmp_path / "noise.png")
    assert vecspect("score", noise, "-c", "grid").code == 0
    assert vecspect("score", noise, "-c", "grid", "--fail-on-anomaly").code == 3
    both = vecspect("score", noise, "missing.png", "-c", "grid", "--fail-on-anomaly")
    assert (both.code, len(both.out), len(both.err)) == (3, 1, 1)
    only_missing = vecspect("score", "missing.png", "-c", "grid", "--fail-on-anomaly")
    assert only_missing.code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["score"], "PATH"),
        (["score", "a.png"], "--category"),
        (["score", "a.png", "-c", "grid", "--jsn"], "--jsn"),
        (["similar", "a.png", "-c", "grid", "--top", "0"], "--top"),
        (["similar", "a.png", "-c", "grid", "--top", "many"], "--top"),
        (["similar", "a.png", "-c", "grid", "--label", "bad"], "normal or defective"),
        (["index", "data", "-c", "grid", "--coreset", "little"], "--coreset"),
        (["benchmark", "data", "--weights", "file.pth"], "NAME=FILE"),
        (["scor"], "scor"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_what_is_wrong(
    vecspect: Vecspect, arguments: list[str], said: str
) -> None:
    ended = vecspect(*arguments)
    assert ended.code == 2
    assert ended.out == []
    assert said in " ".join(ended.err)
    assert "Traceback" not in " ".join(ended.err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["score", "IMAGE", "-c", "gird"], "no category 'gird' .*known: grid"),
        (["similar", "IMAGE", "-c", "gird"], "no category 'gird' .*known: grid"),
        (["score", "IMAGE", "-c", "grid", "--backbone", "vgg"], "indexed with compact.*not 'vgg'"),
        (["score", "IMAGE", "-c", "grid", "--weights", "gone.pth"], "no weight file at gone.pth"),
        (["score", "nowhere/*.png", "-c", "grid"], "expected images at nowhere/"),
        (["score", ".", "-c", "grid"], "expected images at ., got none"),
        (["similar", "gone.png", "-c", "grid"], "gone.png: there is no such file"),
        (["index", "gone", "-c", "grid"], "there is nothing at gone"),
        (["index", "DATASET", "-c", "a b"], "'a b' is not a category name"),
        (["index", "DATASET", "-c", "grid", "--coreset", "2"], "--coreset is a share"),
        (["index", "DATASET", "-c", "grid", "--holdout", "0"], "--holdout is a share"),
        (["index", "DATASET", "-c", "grid", "--reject", "0.01"], "--reject 0.01 needs at least 99"),
        (["index", "DATASET", "-c", "g", "--backbone", "compct"], "Did you mean 'compact'"),
        (["index", "DATASET", "-c", "g", "--precision", "f16"], "'precision' cannot be 'f16'"),
        (["index", "DATASET", "-c", "g", "--store", "ftp://x"], "expected a folder, http"),
        (["benchmark", "gone"], "there is nothing at gone"),
        (["status", "--store", "gone"], "no store at gone"),
        (["score", "IMAGE", "-c", "grid", "--store", "gone"], "no store at gone"),
    ],
)
def test_failure_is_explained_in_one_line(
    vecspect: Vecspect, dataset: Path, arguments: list[str], said: str
) -> None:
    named = {"IMAGE": queries_below(dataset)[0], "DATASET": str(dataset)}
    ended = vecspect(*(named.get(argument, argument) for argument in arguments))
    assert re.search(said, only_line(ended))
    assert not Path("gone").exists(), "a command that only reads made a store"


def test_category_of_another_network_is_refused_in_one_line(
    vecspect: Vecspect, learnt_copy: Callable[[str], Path], dataset: Path
) -> None:
    folder = learnt_copy("other")
    with open_store(str(folder)) as store:
        entry = find_entry(store, "grid")
        write_entry(store, replace(entry, fingerprint="0123456789abcdef"))
    for command in ("score", "similar"):
        ended = vecspect(command, queries_below(dataset)[0], "-c", "grid", "--store", folder)
        line = only_line(ended)
        assert "0123456789abcdef" in line
        assert entry.fingerprint in line


def test_store_in_use_by_another_process_is_explained_in_one_line(
    learnt_copy: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = learnt_copy("held")
    with open_store(str(folder)):
        line = only_line(process("status", "--store", folder, cwd=tmp_path))
    assert f"is held by process {os.getpid()}" in line


def test_unknown_setting_in_the_file_is_explained_in_one_line(vecspect: Vecspect) -> None:
    Path("qdrant.yaml").write_text("stroe: here\n")
    assert "unknown setting 'stroe' in qdrant.yaml" in only_line(vecspect("status"))


def test_interrupted_command_says_how_to_go_on(
    vecspect: Vecspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupt)
    ended = vecspect("status")
    assert (ended.code, len(ended.err)) == (130, 1)
    assert "run the same command again" in ended.err[0]


@pytest.mark.parametrize(
    "name",
    [
        command.callback.__name__.replace("_", "-")
        for command in cli.app.registered_commands
        if command.callback
    ],
)
def test_help_of_every_command_names_all_its_options(vecspect: Vecspect, name: str) -> None:
    command = typer.main.get_command(cli.app).commands[name]  # type: ignore[attr-defined]
    ended = vecspect(name, "--help")
    assert ended.code == 0
    text = " ".join(" ".join(ended.out).split())
    assert command.help.splitlines()[0] in text
    for parameter in command.params:
        named = parameter.opts if parameter.opts[0].startswith("-") else [parameter.metavar]
        assert all(option in text for option in named), parameter.name


def test_help_lists_every_command(vecspect: Vecspect) -> None:
    ended = vecspect("--help")
    assert ended.code == 0
    text = "\n".join(ended.out)
    for command in ("index", "score", "similar", "benchmark", "status", "backbones", "demo"):
        assert re.search(rf"^ +{command} ", text, re.MULTILINE), command


def test_bundled_network_needs_no_torch(dataset: Path, tmp_path: Path) -> None:
    small = tmp_path / "normal"
    small.mkdir()
    for name in ("000.png", "001.png", "002.png"):
        shutil.copy(dataset / "train/good" / name, small)
    image = str(small / "000.png")
    commands = [
        ["index", str(small), "-c", "grid", "--coreset", "0.02"],
        ["score", image, "-c", "grid", "--maps", "maps"],
        ["similar", image, "-c", "grid"],
        ["status"],
    ]
    ended = process(json.dumps(commands), cwd=tmp_path, program=TORCH_BLOCKED)
    assert (ended.code, ended.err) == (0, [])


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no such signal here")
def test_reader_that_goes_away_ends_the_command_without_a_word(shop: Shop) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `| head -1` does once it has its line
    with os.fdopen(writer, "wb") as closed:
        ended = subprocess.run(
            [sys.executable, "-c", MAIN, "status", "--json"],
            cwd=shop.folder,
            env=environment(),
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert ended.returncode == -signal.SIGPIPE
    assert ended.stderr == b""
