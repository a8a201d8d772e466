"""Where the command line writes: stdout holds results alone, files are whole or absent."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netloom.errors import OutputError
from netloom.files import write_text
from netloom.search.commands.common import emit, emit_facts, emit_table, note, printable

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


HOSTILE = "\x1b]0;title\x07 \u202ered\x9b31m\x7f"
SHOWN = r"\u001b]0;title\u0007 \u202ered\u009b31m\u007f"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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

    def full(self: Path, data: bytes) -> None:
        with self.open("wb") as file:
            file.write(data[:3])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match=r"front\.html cannot be written: No space left"):
            write_text(target, "after")
    assert target.read_text() == "before"
    assert os.listdir(tmp_path) == ["front.html"]
    assert write_text(target, "after") == target
    assert target.read_text() == "after"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_narrow_terminal_cuts_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "30")
    emit_table(["latency_ms@pixel3", "latency_ms@eyeriss"], [["1", "|none~0|" * 5]])
    text = terminal.getvalue()
    assert "…" not in text  # folded, nothing left out
    letters = "".join(text.split())
    assert letters.count("|") == 10
    assert letters.count("@") == 2


def test_a_terminal_gets_no_control_characters_of_the_store(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    emit(f"{HOSTILE}\n\tof two lines")
    emit_facts({"error": f"{HOSTILE}\nand more"})
    emit("\x1b[31mred\x1b[0m", drawn=True)
    note(HOSTILE)
    first, second, fact, drawn = terminal.getvalue().splitlines()
    assert (first, second) == (SHOWN, "\tof two lines")
    assert fact == rf"error  {SHOWN}\u000aand more"
    assert drawn == "\x1b[31mred\x1b[0m"
    assert capsys.readouterr().err == f"{SHOWN}\n"
    assert printable("日本語 é 👍 plain") == "日本語 é 👍 plain"


def test_a_row_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    emit_table(["trial", "architecture"], [["1", "a\nb\x1b[2J"]])
    assert capsys.readouterr().out.splitlines()[1:] == [r"1      a\u000ab\u001b[2J"]


@pytest.mark.parametrize("name", ["x" * 300 + ".html", "~nobody-here/x.html", "toy.yaml/x.html"])
def test_a_path_that_cannot_be_is_one_line(cli: Any, name: str) -> None:
    cli.stored("search", "toy.yaml", "--quiet")
    refused = cli.stored("report", "toy", "-o", name, code=2)
    [line] = refused.stderr.splitlines()
    assert "name another file" in line or "there is no folder" in line


@pytest.fixture
def plain_sigterm() -> Iterator[None]:
    """What a process starts with: Ray, where a test of this process used it, leaves a handler."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("plain_sigterm")
def test_sigterm_ends_a_command_as_ctrl_c_does(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.stored("search", "toy.yaml", "--quiet")

    def killed(self: Path, data: bytes) -> None:
        self.touch()
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Path, "write_bytes", killed)
    ended = cli.stored("report", "toy", "-f", "md", "-o", "toy.md", code=130)
    assert ended.stderr == "interrupted\n"
    assert not [name for name in os.listdir(cli.folder) if "toy.md" in name]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "text"
