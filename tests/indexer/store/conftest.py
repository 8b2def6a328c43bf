from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.indexer.store.protocol_double import ProtocolDouble, running_double


@pytest.fixture
def double() -> Iterator[ProtocolDouble]:
    yield from running_double()
