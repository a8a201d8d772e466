"""A search that kills itself at a point: `python kill_child.py STORE CHANGES NUMBER PHASE`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from toy_plans import make_plan

from netloom.db import Store
from netloom.search.run.events import Event
from netloom.search.run.runner import Runner


def main(url: str, changes: str, number: str, phase: str) -> None:
    def kill(event: Event) -> None:
        if (event.kind, event.number) == (phase, int(number)):
            os.kill(os.getpid(), signal.SIGKILL)

    with Store(url) as store:
        Runner(make_plan(url, **json.loads(changes)), store, listeners=[kill]).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
