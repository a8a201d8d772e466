"""Where the command line writes: stdout holds results alone, files are whole or absent."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from netloom.errors import OutputError
from netloom.files import write_text
from netloom.search.commands.common import emit_table

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")

TALKATIVE = """
from netloom.estimators import declares

print("imported")


@declares({"score": "maximize", "cost": "minimize"})
def worth(architecture):
    print("evaluating")
    return {"score": architecture["width"], "cost": 1}
"""


def netloom(cli: Any, command: str) -> subprocess.CompletedProcess[str]:
    """Run a shell line in which `netloom` stands for the command."""
    return subprocess.run(
        ["sh", "-c", command.replace("netloom", f"{sys.executable} -m netloom")],
        cwd=cli.folder,
        env=cli.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_imported_code_prints_is_no_result(cli: Any) -> None:
    (cli.folder / "talkative.py").write_text(TALKATIVE, encoding="utf-8")
    words = ["--set", "estimators=['talkative:worth']", "--set", "runner.engine=inline"]
    result = cli.search(*words, "--json")
    assert json.loads(result.stdout)["experiment"]["counts"]["done"] == 8
    assert result.stderr.count("evaluating") == 8
    assert "imported" in result.stderr
    assert cli.search(*words, "--quiet").stdout == "toy-2\n"


@needs_full
@pytest.mark.parametrize("words", ["netloom --help", "netloom spaces --json", "netloom init"])
def test_a_full_disk_under_stdout_is_one_line_and_exit_code_1(cli: Any, words: str) -> None:
    done = netloom(cli, f"{words} > /dev/full")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("error: stdout cannot be written: No space left on device")


def test_a_closed_stdout_is_no_crash(cli: Any) -> None:
    done = netloom(cli, "netloom init >&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_no_file_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    """A rename over a device such as /dev/null would break the machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        write_text(pipe, "text")
        assert reader.communicate(timeout=60)[0] == "text"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "front.html"
    target.write_text("before")
    target.chmod(0o640)

    def full(self: Path, text: str, **_: Any) -> None:
        with self.open("w") as file:
            file.write(text[:3])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(OutputError, match=r"front\.html cannot be written: No space left"):
            write_text(target, "after")
    assert target.read_text() == "before"
    assert os.listdir(tmp_path) == ["front.html"]
    assert write_text(target, "after") == target
    assert target.read_text() == "after"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_narrow_terminal_cuts_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "30")
    emit_table(["latency_ms@pixel3", "latency_ms@eyeriss"], [["1", "|none~0|" * 5]])
    text = terminal.getvalue()
    assert "…" not in text  # folded, nothing left out
    letters = "".join(text.split())
    assert letters.count("|") == 10
    assert letters.count("@") == 2


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "text"
