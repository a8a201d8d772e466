"""`netloom dashboard --auth`: where a password comes from, and that none is asked for in vain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netloom.db import Store


@pytest.fixture
def served(cli: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the dashboard would be started with."""
    seen: dict[str, Any] = {}

    def serve(url: str, host: str, port: int, *, password: str | None, on_ready: Any) -> None:
        seen.update(url=url, host=host, port=port, password=password)

    Store(cli.store).close()
    monkeypatch.setattr("netloom.dashboard.app.serve", serve)
    monkeypatch.delenv("NETLOOM_DASHBOARD_PASSWORD", raising=False)
    return seen


def test_no_password_is_asked_for_unless_told(
    cli: Any, served: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETLOOM_DASHBOARD_PASSWORD", "long enough")
    cli.stored("dashboard")
    assert served["password"] is None


def test_a_password_from_the_environment(
    cli: Any, served: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = cli.stored("dashboard", "--auth", code=2)
    assert "set NETLOOM_DASHBOARD_PASSWORD, or give --auth-file" in refused.stderr
    monkeypatch.setenv("NETLOOM_DASHBOARD_PASSWORD", "short")
    assert "at least 8 characters" in cli.stored("dashboard", "--auth", code=2).stderr
    assert served == {}
    monkeypatch.setenv("NETLOOM_DASHBOARD_PASSWORD", "long enough")
    cli.stored("dashboard", "--host", "0.0.0.0", "--auth")
    assert (served["host"], served["password"]) == ("0.0.0.0", "long enough")


def test_a_password_from_a_file(cli: Any, served: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file\n", encoding="utf-8")
    cli.stored("dashboard", "--auth-file", "secret")
    assert served["password"] == "from a file"
    assert "does not exist" in cli.stored("dashboard", "--auth-file", "nothing", code=2).stderr


def test_another_address_needs_one(cli: Any) -> None:
    Store(cli.store).close()
    refused = cli.stored("dashboard", "--host", "0.0.0.0", "--port", "0", code=2)
    assert "--auth" in refused.stderr
    assert "got '0.0.0.0'" in refused.stderr
