from __future__ import annotations

import numpy as np
import pytest
from qdrant_client import grpc as q
from qdrant_client import models

from indexer.store.base import Not, Range, ServerCollections, VectorParams
from indexer.store.server import ServerStore
from indexer.store.server_models import filter_of, search_params, vectors_config
from tests.indexer.store.protocol_double import DIM, KEY, ProtocolDouble


def test_a_collection_is_made_with_the_copies_and_the_quantization_asked_for(
    double: ProtocolDouble,
) -> None:
    double.absent = True
    asked = ServerCollections(shards=3, replication=2, write_consistency=2, quantization="int8")
    vectors = {
        "patch": VectorParams(DIM, "euclid", indexed=False),
        "whole": VectorParams(DIM, "cosine", indexed=True),
    }
    with ServerStore(double.url, api_key=KEY, collections=asked) as store:
        store.create_collection("bank", vectors, {})
    (made,) = double.received
    copies = (made.shard_number, made.replication_factor, made.write_consistency_factor)
    assert copies == (3, 2, 2)
    whole, patch = (made.vectors_config.params_map.map[name] for name in ("whole", "patch"))
    assert whole.quantization_config.scalar.type == q.QuantizationType.Int8
    assert whole.quantization_config.scalar.always_ram
    assert whole.on_disk
    assert not patch.HasField("quantization_config"), "a memory bank is searched exactly"
    assert not patch.on_disk


def test_without_a_word_a_collection_is_one_copy_of_full_vectors(double: ProtocolDouble) -> None:
    double.absent = True
    with ServerStore(double.url, api_key=KEY) as store:
        store.create_collection("bank", {"whole": VectorParams(DIM, "cosine", indexed=True)}, {})
    (made,) = double.received
    copies = (made.shard_number, made.replication_factor, made.write_consistency_factor)
    assert copies == (1, 1, 1)
    assert not made.vectors_config.params_map.map["whole"].HasField("quantization_config")


@pytest.mark.parametrize("exact", [True, False])
def test_an_approximate_search_sorts_by_the_full_vectors(
    double: ProtocolDouble, exact: bool
) -> None:
    with ServerStore(double.url, api_key=KEY) as store:
        store.query("bank", np.ones(DIM, np.float32), using="patch", top=3, exact=exact)
    (asked,) = double.received
    assert asked.params.exact is exact
    assert asked.params.quantization.rescore is not exact


def test_no_condition_is_no_filter() -> None:
    assert filter_of(None) is None
    assert filter_of({}) is None


def test_each_kind_of_condition_becomes_its_own_match() -> None:
    found = filter_of(
        {"a": 1, "b.c": "x", "d": ["y", "z"], "e": Range(gt=1, lte=2), "f": Not(True)}
    )
    assert found is not None
    assert found.must == [
        models.FieldCondition(key="a", match=models.MatchValue(value=1)),
        models.FieldCondition(key='"b.c"', match=models.MatchValue(value="x")),
        models.FieldCondition(key="d", match=models.MatchAny(any=["y", "z"])),
        models.FieldCondition(key="e", range=models.Range(gt=1, lte=2)),
    ]
    assert found.must_not == [models.FieldCondition(key="f", match=models.MatchValue(value=True))]


def test_only_indexed_vectors_have_a_graph_and_are_quantised() -> None:
    vectors = {
        "patch": VectorParams(8, "euclid", indexed=False),
        "whole": VectorParams(3, "cosine", indexed=True),
    }
    plain, quantised = vectors_config(vectors, None), vectors_config(vectors, "int8")
    for config in (plain, quantised):
        assert (config["patch"].size, config["patch"].distance) == (8, models.Distance.EUCLID)
        assert config["patch"].hnsw_config == models.HnswConfigDiff(m=0)
        assert config["whole"].hnsw_config is None
    with_int8 = [config["whole"].quantization_config is not None for config in (plain, quantised)]
    assert with_int8 == [False, True]
    assert quantised["patch"].quantization_config is None


def test_exact_search_needs_no_rescoring() -> None:
    assert search_params(exact=True).quantization is None
    approximate = search_params(exact=False).quantization
    assert approximate is not None
    assert approximate.rescore
    assert approximate.oversampling == 3
