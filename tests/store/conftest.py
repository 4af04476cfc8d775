from collections.abc import Iterator
from pathlib import Path

import pytest

from agentcom.store import MemoryStore
from tests.store.helpers import LmdbStore, Store, Writer


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    lmdb_store = LmdbStore(tmp_path / "data")
    yield lmdb_store
    lmdb_store.close()


@pytest.fixture
def lane(store: Store) -> Writer:
    return Writer(store)
