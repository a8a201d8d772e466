"""Where device files of users are found by name: folders with `NAME.yaml` in them.

In this order, the first file of a name wins; devices that come with netloom win over all:

1. the folder `devices` beside the spec of a search (`add_device_folder`);
2. the folder `devices` in the current folder;
3. the folders that the environment variable `NETLOOM_DEVICES` lists, separated as in `PATH`;
4. `netloom/devices` in the user's configuration folder (`XDG_CONFIG_HOME`, else `~/.config`).
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import SpecError

_BESIDE_SPECS: list[Path] = []


def add_device_folder(folder: str | os.PathLike[str]) -> None:
    """Look for devices in `folder` first, in this process."""
    path = Path(folder).absolute()
    if path in _BESIDE_SPECS:
        _BESIDE_SPECS.remove(path)
    _BESIDE_SPECS.insert(0, path)


def device_folders() -> list[Path]:
    """Return the folders that are looked into, in order, whether they exist or not."""
    named = [Path(f).expanduser() for f in os.environ.get("NETLOOM_DEVICES", "").split(os.pathsep)]
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    places = [
        *_BESIDE_SPECS,
        Path.cwd() / "devices",
        *(folder for folder in named if folder != Path()),
        Path(home) / "netloom" / "devices",
    ]
    return list(dict.fromkeys(places))


def user_devices() -> dict[str, Path]:
    """Return the device files of users by name; reads none of them.

    Raises:
        SpecError: If a folder of them cannot be listed.
    """
    found: dict[str, Path] = {}
    for folder in device_folders():
        try:
            files = sorted(folder.glob("*.yaml")) if folder.is_dir() else []
        except OSError as error:
            raise SpecError(
                f"the device folder {folder} cannot be listed: {error.strerror}; give read "
                "permission, or take it out of NETLOOM_DEVICES"
            ) from error
        for file in files:
            found.setdefault(file.stem, file)
    return found
