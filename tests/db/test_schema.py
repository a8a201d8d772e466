"""The tables: made by migrations, equal to the models, upgraded in place, refused when newer."""

from __future__ import annotations

import os
import shutil
import sqlite3
import textwrap
import threading
from pathlib import Path

import pytest

from netloom.db import Store, check, schema, upgrade
from netloom.db.engine import make_engine, writing
from netloom.db.testing import count_rows, done, experiment, fill
from netloom.db.url import parse_url
from netloom.errors import StoreError

SNAPSHOT = Path(__file__).parent / "schema/sqlite.sql"
HEAD, NEXT = schema.HEAD, f"{int(schema.HEAD) + 1:04}"
ANOTHER = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "{next}", "{head}", None, None


def upgrade():
    with op.batch_alter_table("experiments") as table:
        table.add_column(sa.Column("owner", sa.Text()))
        table.alter_column("strategy", nullable=True)
    {more}
"""


def statements(url: str) -> str:
    with sqlite3.connect(parse_url(url).database) as connection:
        rows = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' "
            "ORDER BY tbl_name, type DESC, name"
        ).fetchall()
    connection.close()
    return "\n".join(textwrap.dedent(sql.expandtabs(2)).strip() + ";\n" for (sql,) in rows)


def test_the_schema_is_the_committed_one(sqlite_url):
    Store(sqlite_url).close()
    found = statements(sqlite_url)
    if os.environ.get("NETLOOM_WRITE_SCHEMA") == "1":
        SNAPSHOT.write_text(found)
    assert found == SNAPSHOT.read_text(), "a change of the schema: run with NETLOOM_WRITE_SCHEMA=1"


def test_the_newest_migration_is_the_head():
    assert schema.known()[-1] == schema.HEAD
    files = sorted(path.name[:4] for path in (schema.SCRIPTS / "versions").glob("0*.py"))
    assert files == schema.known()


def differences(url):
    engine = make_engine(parse_url(url), read_only=False)
    try:
        with writing(engine) as connection:
            schema.migrate(connection)
            return schema.differences(connection)
    finally:
        engine.dispose()


def test_migrating_an_empty_sqlite_file_gives_the_models(sqlite_url):
    assert differences(sqlite_url) == []


@pytest.mark.postgres
def test_migrating_an_empty_postgresql_gives_the_models(new_postgres_url):
    assert differences(new_postgres_url) == []


@pytest.fixture(params=["sqlite_url", pytest.param("new_postgres_url", marks=pytest.mark.postgres)])
def url(request, tmp_path, monkeypatch):
    monkeypatch.setenv("NETLOOM_ARTIFACTS", str(tmp_path / "artifacts"))
    return request.getfixturevalue(request.param)


def set_revision(url: str, revision: str) -> None:
    engine = make_engine(parse_url(url), read_only=False)
    with writing(engine) as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
    engine.dispose()


def test_first_runs_at_once_make_one_store(url):
    barrier, found = threading.Barrier(4), []

    def open_it():
        barrier.wait()
        with Store(url) as store:
            found.append(store.create_experiment(experiment()).name)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["exp", "exp-2", "exp-3", "exp-4"]


def test_a_newer_schema_is_refused(url):
    Store(url).close()
    set_revision(url, "9999")
    for read_only in (False, True):
        with pytest.raises(StoreError, match=rf"schema 9999, newer than {HEAD}.*upgrade netloom"):
            Store(url, read_only=read_only)
    with pytest.raises(StoreError, match="newer"):
        upgrade(url)
    assert check(url).problems == (f"the schema is 9999, not {HEAD}; upgrade netloom",)


def test_a_current_schema_stays(url):
    Store(url).close()
    assert upgrade(url) == (HEAD, HEAD)


def test_an_empty_database_is_no_store_yet(url, tmp_path):
    if url.startswith("sqlite"):
        (tmp_path / "store.db").touch()
    for use in (upgrade, check, lambda url: Store(url, create=False)):
        with pytest.raises(StoreError, match="holds no tables yet; run a search first"):
            use(url)
    Store(url).close()


def test_a_database_of_something_else_is_left_alone(url):
    engine = make_engine(parse_url(url), read_only=False)
    with writing(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE invoices (id INTEGER)")
    engine.dispose()
    with pytest.raises(StoreError, match=r"a store has its database to itself.*invoices"):
        Store(url)


@pytest.fixture
def another(tmp_path, monkeypatch):
    """Make this version one that has another migration."""

    def make(more: str = "") -> None:
        scripts = tmp_path / "50% migrations"
        shutil.copytree(schema.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
        text = ANOTHER.replace("{next}", NEXT).replace("{head}", HEAD).replace("{more}", more)
        (scripts / f"versions/{NEXT}_owner.py").write_text(text)
        monkeypatch.setattr(schema, "SCRIPTS", scripts)
        monkeypatch.setattr(schema, "HEAD", NEXT)

    return make


def test_an_older_schema_is_upgraded_on_request(url, another):
    with Store(url) as store:
        exp = store.create_experiment(experiment()).id
        fill(store, exp)
        before = count_rows(store)
    another()
    with pytest.raises(
        StoreError, match=rf"older schema {HEAD}.*needs {NEXT}.*`netloom db upgrade`"
    ):
        Store(url)
    assert upgrade(url) == (HEAD, NEXT)
    with Store(url) as store:
        assert count_rows(store) == before  # copying a table must not take its children along
        store.import_trials(exp, [done(5)])
        store.delete_experiment(exp)
        assert count_rows(store)["trials"] == 0  # and they still belong to it
    (problem,) = [p for p in check(url).problems if "owner" in p]
    assert "add" in problem or "remove" in problem


def test_metrics_of_the_first_schema_are_kept(url, monkeypatch):
    with monkeypatch.context() as old:
        old.setattr(schema, "HEAD", "0001")
        with Store(url) as store:
            exp = store.create_experiment(experiment()).id
            fill(store, exp)
            before = store.trial_records(exp)
    assert any(record.metrics for record in before)
    assert upgrade(url) == ("0001", HEAD)
    with Store(url) as store:
        assert store.trial_records(exp) == before
    assert check(url).problems == ()  # the indexes are those that the models name


def test_a_failed_upgrade_changes_nothing(url, another):
    with Store(url) as store:
        fill(store, store.create_experiment(experiment()).id)
    another("op.execute('SELECT * FROM nowhere')")
    with pytest.raises(StoreError, match="nowhere"):
        upgrade(url)
    engine = make_engine(parse_url(url), read_only=True)
    with engine.connect() as connection:
        assert schema.revision_of(connection) == HEAD
        columns = connection.exec_driver_sql("SELECT * FROM experiments").keys()
        assert "owner" not in columns
    engine.dispose()


def test_an_upgrade_does_not_orphan_rows(sqlite_url, another):
    with Store(sqlite_url) as store:
        fill(store, store.create_experiment(experiment()).id)
    another("op.execute('DELETE FROM trials')")  # foreign keys are off while tables are copied
    with pytest.raises(StoreError, match=r"was left as it was: row .* belongs to no row of trials"):
        upgrade(sqlite_url)
    assert check(sqlite_url).revision == HEAD


def test_a_store_in_use_is_not_upgraded(url, another):
    with Store(url) as store:
        exp = store.create_experiment(experiment()).id
        with store.claim(exp):
            another()
            with pytest.raises(StoreError, match="in use by a run"):
                upgrade(url)
