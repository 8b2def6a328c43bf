from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.catalog.collections import read_defect_embeddings
from indexer.catalog.commits import find_category
from indexer.catalog.entry import LibraryImage
from indexer.store.base import VectorStore
from search.retrieval.type_proposal import UNKNOWN, TypeProposer, read_proposer

DIM = 32


def image(number: int, kind: str, sha256: str = "", **fields: str) -> LibraryImage:
    return LibraryImage(
        str(number), f"{number}.png", sha256, "defective", kind, "test", 8, 8, 1.0, sha256, fields
    )


def around(axis: int, count: int, spread: float, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    found = np.eye(DIM, dtype=np.float32)[axis] + spread * rng.standard_normal((count, DIM))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def proposer() -> TypeProposer:
    vectors = np.concatenate([around(0, 30, 0.05, 0), around(1, 10, 0.05, 1)])
    images = [image(i, "scratch", line="A" if i < 20 else "B") for i in range(30)]
    return TypeProposer(vectors, images + [image(i, "dent") for i in range(30, 40)])


def test_defect_like_known_ones_gets_their_type_with_their_cases(proposer: TypeProposer) -> None:
    seen = proposer.propose(around(0, 1, 0.05, 7)[0])
    assert (seen.defect_type, seen.cases, seen.share) == ("scratch", 30, 0.75)
    assert seen.fields == {"line": {"A": 20, "B": 10}}
    assert seen.confidence == pytest.approx(21 / 22)
    assert int(seen.image_id) < 30
    assert proposer.propose(around(1, 1, 0.05, 8)[0]).defect_type == "dent"


def test_defect_far_from_all_known_ones_is_unknown(proposer: TypeProposer) -> None:
    seen = proposer.propose(around(2, 1, 0.05, 9)[0])
    assert seen.defect_type == UNKNOWN
    assert seen.distance > 0.5


def test_image_of_the_library_does_not_answer_for_itself() -> None:
    vectors = np.concatenate([around(0, 30, 0.05, 0), around(1, 1, 0.05, 1)])
    images = [image(i, "scratch") for i in range(30)] + [image(30, "dent", sha256="own")]
    seen = TypeProposer(vectors, images).propose(vectors[30], without="own")
    assert (seen.nearest_type, seen.defect_type, seen.share) == ("scratch", UNKNOWN, 1)


def test_known_types_are_called_unknown_at_about_the_stated_rate(proposer: TypeProposer) -> None:
    answers = [proposer.propose(v).defect_type for v in around(0, 400, 0.05, 10)]
    assert 0.005 < answers.count(UNKNOWN) / 400 < 0.15


def test_types_that_the_library_itself_confuses_are_not_proposed() -> None:
    vectors = around(0, 40, 0.05, 11)
    kinds = np.random.default_rng(12).permutation(["a", "b", "c", "d"] * 10)
    confused = TypeProposer(vectors, [image(i, str(k)) for i, k in enumerate(kinds)])
    answers = [confused.propose(v) for v in around(0, 20, 0.05, 13)]
    assert {a.defect_type for a in answers} == {UNKNOWN}
    assert max(a.confidence for a in answers) <= 0.5


def test_one_defect_of_each_type_is_no_evidence() -> None:
    lonely = TypeProposer(around(0, 2, 0.05, 14), [image(0, "a"), image(1, "b")])
    assert lonely.propose(around(0, 1, 0.05, 15)[0]).defect_type == UNKNOWN


def test_proposer_knows_the_named_defects_of_the_library_and_takes_two(
    learnt: VectorStore,
) -> None:
    grid = find_category(learnt, "grid")
    vectors, images = read_defect_embeddings(grid)
    proposer = read_proposer(grid)
    assert proposer
    seen = proposer.propose(vectors[0])
    assert (seen.image_id, seen.nearest_type) == (images[0].image_id, images[0].defect_type)
    assert seen.distance == pytest.approx(0, abs=1e-5)
    assert seen.share == seen.cases / len(images)
    named = [image.image_id for image in images]
    learnt.set_payload(grid.images, [grid.point_id(key) for key in named[1:]], {"defect_type": ""})
    assert read_proposer(grid) is None, "one named defect teaches nothing"
