"""Where the store is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from netloom.db import public_url, store_url
from netloom.db.files import artifact_folder
from netloom.db.url import parse_url
from netloom.errors import StoreError


def test_the_explicit_url_comes_first(monkeypatch):
    monkeypatch.delenv("NETLOOM_STORE", raising=False)
    assert store_url() == store_url("") == "sqlite:///netloom.db"
    monkeypatch.setenv("NETLOOM_STORE", "postgresql://team/db")
    assert store_url(None) == "postgresql://team/db"
    assert store_url("sqlite:///mine.db") == "sqlite:///mine.db"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("netloom.db", "did you mean sqlite:///netloom.db?"),
        ("mysql://host/db", "got 'mysql://host/db'"),
        ("sqlite://", "a store in memory could not be resumed"),
        ("sqlite:///:memory:", "a store in memory"),
        ("sqlite:///a.db?mode=ro", "SQLite options are set by netloom"),
        ("sqlite+aiosqlite:///a.db", "a store is sqlite:///FILE"),
        ("postgresql+psycopg2://h/db", "only the psycopg driver"),
        ("postgresql://me:secret@host:port/db", "a store is sqlite:///FILE"),
    ],
)
def test_other_urls_are_refused(text, message):
    with pytest.raises(StoreError) as error:
        parse_url(text)
    assert message in str(error.value)
    if "secret" in text:
        assert "secret" not in str(error.value)


def test_what_others_see_has_no_password():
    assert public_url("postgresql://me:se@cret@host/db") == "postgresql://me:***@host/db"
    assert public_url("postgresql://host/db?password=secret&a=b") == (
        "postgresql://host/db?password=***&a=b"
    )
    for plain in ("sqlite:///a.db", "postgresql://me@host/db", "words"):
        assert public_url(plain) == plain


def test_postgresql_goes_through_psycopg():
    url = parse_url("postgresql://me@host/db?sslmode=require")
    assert url.drivername == "postgresql+psycopg"
    assert url.query == {"sslmode": "require"}


def test_artifacts_are_beside_the_file_or_where_the_environment_says(tmp_path, monkeypatch):
    assert artifact_folder(parse_url(f"sqlite:///{tmp_path}/a.db")) == tmp_path / "a.db-artifacts"
    server = parse_url("postgresql://host/db")
    monkeypatch.delenv("NETLOOM_ARTIFACTS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert artifact_folder(server) == tmp_path / "netloom-artifacts"
    monkeypatch.setenv("NETLOOM_ARTIFACTS", str(tmp_path / "share"))
    assert artifact_folder(server) == tmp_path / "share"


def test_importing_the_store_loads_no_heavy_library():
    heavy = "torch", "ray", "pandas", "alembic", "psycopg"
    code = f"import sys, netloom.db; print([m for m in {heavy!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
