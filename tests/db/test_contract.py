"""The same suite on both databases."""

from __future__ import annotations

import pytest

from netloom.db.testing import StoreContract


class TestSQLite(StoreContract):
    @pytest.fixture
    def url(self, sqlite_url):
        return sqlite_url


@pytest.mark.postgres
class TestPostgreSQL(StoreContract):
    @pytest.fixture
    def url(self, postgres_url):
        return postgres_url
