"""`netloom tag | rename | archive`: what people say of an experiment afterwards."""

from __future__ import annotations

from typing import Annotated

import typer

from ...errors import SpecError
from .common import (
    ExperimentArgument,
    JsonOption,
    StoreOption,
    command,
    emit,
    emit_json,
    note,
    open_store,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    # A word to remove begins with a dash: nothing here may be read as a row of short options.
    words = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
    command(app, "tag", "netloom tag quickstart +paper -draft", settings=words)(tag)
    command(app, "rename", "netloom rename quickstart nb201-pixel3")(rename)
    command(app, "archive", "netloom archive quickstart")(archive)


def tag(
    experiment: ExperimentArgument,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[+WORD|-WORD]...", help="Tags to add (+) and to remove (-)."),
    ] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Add tags to an experiment and remove others; print those that it has then."""
    for word in words or ():
        if word[:1] not in ("+", "-"):
            raise SpecError(f"a tag is given as +WORD or -WORD, got {word!r}; write +{word}")
    with open_store(store, write=bool(words)) as opened:
        id = opened.experiment(experiment).id
        if words:
            opened.tag_experiment(
                id,
                add=[word[1:] for word in words if word[0] == "+"],
                remove=[word[1:] for word in words if word[0] == "-"],
            )
        found = opened.experiment(id).tags
    if as_json:
        emit_json(list(found))
    elif found:
        emit(" ".join(found))
    else:
        note("no tags")


def rename(
    experiment: ExperimentArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    store: StoreOption = None,
) -> None:
    """Give an experiment another name; its id stays, and so do links to its pages."""
    with open_store(store, write=True) as opened:
        record = opened.experiment(experiment)
        opened.rename_experiment(record.id, name)
    note(f"{record.name} ({record.id}) is now {name}")


def archive(
    experiment: ExperimentArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Take it out again.")] = False,
    store: StoreOption = None,
) -> None:
    """Put an experiment away: lists leave it out, nothing of it is lost."""
    with open_store(store, write=True) as opened:
        record = opened.experiment(experiment)
        opened.archive_experiment(record.id, archived=not undo)
    if undo:
        note(f"{record.name} is listed again")
    else:
        note(f"{record.name} is archived: netloom list --archived shows it")
