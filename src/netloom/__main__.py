"""`python -m netloom` is the `netloom` command."""

from __future__ import annotations

from .search.cli import main

if __name__ == "__main__":
    main()
