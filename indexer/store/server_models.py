"""Requests to a store, translated to the models of a Qdrant server."""

from __future__ import annotations

from collections.abc import Mapping

from qdrant_client import models

from indexer.store.base import Distance, Quantization, Range, VectorParams, Where
from indexer.store.validation import Match, field_path, where_clauses

OVERSAMPLING = 3.0  # of quantised vectors: measured on int8, eval/results/library.md
DISTANCES: dict[Distance, models.Distance] = {
    "euclid": models.Distance.EUCLID,
    "cosine": models.Distance.COSINE,
    "dot": models.Distance.DOT,
}


def vectors_config(
    vectors: Mapping[str, VectorParams], quantization: Quantization | None
) -> dict[str, models.VectorParams]:
    """Vector parameters of a collection; quantised ones keep the full vectors on disk."""
    int8 = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
    quantised = models.ScalarQuantization(scalar=int8)
    return {
        key: models.VectorParams(
            size=params.size,
            distance=DISTANCES[params.distance],
            hnsw_config=None if params.indexed else models.HnswConfigDiff(m=0),
            quantization_config=quantised if quantization and params.indexed else None,
            on_disk=True if quantization and params.indexed else None,
        )
        for key, params in vectors.items()
    }


def search_params(exact: bool) -> models.SearchParams:
    """Search parameters; an exact search always reads the full vectors."""
    rescored = models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
    return models.SearchParams(exact=exact, quantization=None if exact else rescored)


def create_alias(collection: str, alias: str) -> models.CreateAliasOperation:
    """The operation that points an alias at a collection, replacing an alias of that name."""
    made = models.CreateAlias(collection_name=collection, alias_name=alias)
    return models.CreateAliasOperation(create_alias=made)


def rename_alias(old: str, new: str) -> models.RenameAliasOperation:
    """The operation that renames an alias; refused if ``old`` does not exist."""
    renamed = models.RenameAlias(old_alias_name=old, new_alias_name=new)
    return models.RenameAliasOperation(rename_alias=renamed)


def filter_of(where: Where | None) -> models.Filter | None:
    """The server's filter for the conditions of a store; None if there are none."""
    if not where:
        return None
    must, must_not = where_clauses(where)
    return models.Filter(
        must=[_condition(*clause) for clause in must],
        must_not=[_condition(*clause) for clause in must_not],
    )


def _condition(field: str, value: Match) -> models.FieldCondition:
    path = field_path(field)
    if isinstance(value, Range):
        bounds = models.Range(gte=value.gte, gt=value.gt, lte=value.lte, lt=value.lt)
        return models.FieldCondition(key=path, range=bounds)
    if isinstance(value, list):
        return models.FieldCondition(key=path, match=models.MatchAny(any=value))
    return models.FieldCondition(key=path, match=models.MatchValue(value=value))
