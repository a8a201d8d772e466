"""What the pages say is tried: links, commands, Python, YAML, tables of options."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import pytest
import typer.main
import yaml
from typer.testing import CliRunner

from netloom.estimators import ESTIMATORS
from netloom.hw_models import load_device, model_for
from netloom.options import describe
from netloom.search import STRATEGIES
from netloom.search.cli import app
from netloom.search.run.capabilities import capability_matrix
from netloom.search.run.plan import build_plan
from netloom.search.run.spec import Spec, parse
from netloom.spaces import SPACES

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
INLINE = re.compile(r"`netloom ([a-z][^`]*)`", re.S)
BASE = {
    "space": "nb201",
    "estimators": ["tabular"],
    "strategy": "random",
    "objectives": [{"maximize": "valid_accuracy"}],
    "budget": {"trials": 1},
}
OF_THE_DESIGN = {"design.md"}  # its spec names spaces and devices that are planned


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    found, opened, lines = [], None, []
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if not line.lstrip().startswith("```"):
            lines.append(line)
        elif opened is None:
            opened, lines = (number, line.strip()[3:].strip()), []
        else:
            found.append(Block(page.name, opened[0], opened[1], "\n".join(lines)))
            opened, lines = None, []
    assert opened is None, f"{name(page)}: the block of line {opened} does not end"
    return found


def all_blocks(*languages: str) -> list[Block]:
    return [b for page in PAGES for b in blocks(page) if b.language in languages]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.S | re.M)


# ---------------------------------------------------------------------- links
def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as code hosts make them."""
    heads = re.findall(r"^#+ +(.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)}: {target}"
        assert file.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(file), f"{name(page)}: {target} ({sorted(anchors(file))})"


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    listed = set(LINK.findall(index))
    pages = {p.name for p in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages <= listed


# ---------------------------------------------------------------------- commands
def commands(block: Block) -> list[str]:
    """Return the netloom commands of a block."""
    lines = [line.strip().removeprefix("$ ") for line in block.text.splitlines()]
    return [line for line in lines if re.match(r"(\.venv/bin/)?netloom +[a-z-]", line)]


def command_of(words: list[str]) -> tuple[click.Command, list[str], click.Context]:
    """Return the command that words name, what is left of them, and its parent's context."""
    command: click.Command = typer.main.get_command(app)
    context = click.Context(command, info_name="netloom")
    while hasattr(command, "commands"):
        if words and words[0].startswith("-"):
            break
        assert words, f"{context.info_name} needs a command"
        assert words[0] in command.commands, f"no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    return command, words, context


@pytest.mark.parametrize("block", all_blocks("", "sh", "bash", "console"), ids=str)
def test_commands_are_understood(block):
    """Arguments and options exist and take these values; nothing is run."""
    for line in commands(block):
        if "[" in line and "]" in line and "'" not in line:
            continue  # a synopsis
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            command, rest, context = command_of(words[1:])
            if rest and not hasattr(command, "commands"):
                command.make_context(command.name, rest, parent=context.parent)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_in_sentences_exist(page):
    for text in INLINE.findall(prose(page)):
        words = text.replace("\\|", "|").replace("|", " ").split()
        named = [w for w in words if not w.startswith(("-", "["))]
        command, _, _ = command_of([named[0]] if named[0] not in ("db", "trials") else named[:2])
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text):
            assert option in options, f"{name(page)}: `netloom {text}` has no {option}"


# ---------------------------------------------------------------------- Python
@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """A store that holds the quickstart, made small."""
    path = tmp_path_factory.mktemp("quickstart") / "netloom.db"
    words = ["--set", "budget.trials=40", "--set", "strategy.population=8", "--quiet"]
    spec = str(ROOT / "examples" / "quickstart.yaml")
    result = CliRunner().invoke(app, ["search", spec, *words, "--store", f"sqlite:///{path}"])
    assert result.exit_code == 0, result.output
    return path


@pytest.mark.parametrize("page", [p for p in PAGES if "```python" in p.read_text()], ids=name)
def test_python_runs(page, tmp_path, monkeypatch, quickstart):
    """The blocks of a page run one after the other, beside a store with the quickstart."""
    shutil.copy(quickstart, tmp_path / "netloom.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NETLOOM_STORE", raising=False)
    values = {"__name__": f"docs_{page.stem}"}
    for block in blocks(page):
        if block.language == "python":
            source = "\n" * block.line + block.text
            exec(compile(source, str(page), "exec"), values)


# ---------------------------------------------------------------------- what a command prints
def columns(line: str) -> list[str]:
    """Return the cells of a printed line; how wide the columns are does not matter."""
    return re.split(r"  +", line.strip())


def test_the_first_search_ends_as_getting_started_says(tmp_path):
    """If it no longer does: replace the blocks there, and docs/images/front.png by
    `netloom report quickstart -o docs/images/front.png`.
    """
    page = ROOT / "docs" / "getting_started.md"
    shown = [b for b in blocks(page) if b.language == ""]
    spec, store = str(ROOT / "examples" / "quickstart.yaml"), f"sqlite:///{tmp_path}/netloom.db"

    def told(*words: str) -> str:
        result = CliRunner().invoke(app, list(words))
        assert result.exit_code == 0, result.output
        return result.output

    search = told("search", spec, "--set", "baseline=false", "--no-progress", "--store", store)
    end = next(b.text for b in shown if "architectures on the front" in b.text)
    assert end.split(" in ")[0] in search
    for head, printed in (
        ("trial  ", told("pareto", "quickstart", "--store", store)),
        ("metric  ", told("validate", spec, "--probe", "500")),
    ):
        lines = [columns(line) for line in printed.splitlines()]
        block = next(b for b in shown if b.text.startswith(head))
        table = [line for line in block.text.splitlines() if line and not line.startswith("(")]
        assert len(table) > 5
        for line in table:
            assert columns(line) in lines, f"{block}: {line}"


# ---------------------------------------------------------------------- YAML
def is_spec(values) -> bool:
    return isinstance(values, dict) and values.keys() <= Spec.model_fields.keys()


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=str)
def test_yaml_is_valid(block, tmp_path, monkeypatch):
    values = yaml.safe_load(block.text)
    if isinstance(values, dict) and "family" in values:
        (tmp_path / "device.yaml").write_text(block.text)
        assert model_for(load_device(str(tmp_path / "device.yaml"))).provides
        return
    assert is_spec(values), f"neither a spec nor a device: {block.text}"
    spec = parse({**BASE, **values})
    if BASE.keys() <= values.keys() and block.page not in OF_THE_DESIGN:
        build_plan(spec)


# ---------------------------------------------------------------------- tables
def options_table(cls) -> str:
    """Return the table of options as it stands in the pages."""
    rows = ["| option | default | |", "|---|---|---|"]
    for option in describe(cls):
        default = "required" if option.default is None else f"`{option.default}`"
        rows.append(f"| `{option.name}` | {default} | {option.doc} |")
    return "\n".join(rows)


@pytest.mark.parametrize("strategy", STRATEGIES.names())
def test_every_strategy_has_a_section_with_its_options(strategy):
    page = (ROOT / "docs" / "strategies.md").read_text("utf-8")
    section = page.partition(f"\n## `{strategy}`\n")[2].partition("\n## ")[0]
    assert options_table(STRATEGIES.get(strategy)) in section


def test_the_options_of_training_are_those_listed():
    page = (ROOT / "docs" / "estimators_and_data.md").read_text("utf-8")
    assert options_table(ESTIMATORS.get("training")) in page


def test_the_table_of_pairs_is_that_of_the_classes():
    spaces = SPACES.names()
    valid = {(p.strategy, p.space): "yes" if p.valid else "no" for p in capability_matrix()}
    head = ["| strategy | objectives | " + " | ".join(spaces) + " |"]
    head.append("|---|---|" + "---|" * len(spaces))
    rows = [
        f"| `{s}` | {STRATEGIES.get(s).objectives} | "
        + " | ".join(valid[s, space] for space in spaces)
        + " |"
        for s in STRATEGIES.names()
    ]
    assert "\n".join([*head, *rows]) in (ROOT / "docs" / "strategies.md").read_text("utf-8")


def test_every_estimator_and_space_is_named():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert all(f"`{name}`" in readme for name in (*SPACES.names(), *STRATEGIES.names()))
    page = (ROOT / "docs" / "estimators_and_data.md").read_text("utf-8")
    assert all(f"`{name}`" in page for name in ESTIMATORS.names() if name != "function")
