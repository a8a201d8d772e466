"""`netloom dashboard` in a process of its own, for benchmarks of its pages."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Server:
    """A dashboard in a process of its own."""

    def __init__(self, url: str, port: int = 0) -> None:
        netloom = str(Path(sys.executable).with_name("netloom"))
        self._process = subprocess.Popen(
            [netloom, "dashboard", "--port", str(port), "--store", url],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        self.url = next(word for word in line.split() if word.startswith("http"))

    def cpu_s(self) -> float:
        """Return the processor time spent so far."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self, name: str = "VmRSS") -> float:
        """Return the resident memory now, or its peak (`VmHWM`)."""
        line = next(each for each in self._proc("status").splitlines() if each.startswith(name))
        return int(line.split()[1]) / 1024

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._process.pid}/{name}").read_text()


@contextmanager
def served(url: str, port: int = 0) -> Iterator[Server]:
    """Run a dashboard, at any free port or that one."""
    server = Server(url, port)
    try:
        yield server
    finally:
        server.stop()
