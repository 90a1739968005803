"""The documentation says what the code does: links, commands, arguments, errors, code blocks."""

from __future__ import annotations

import ast
import inspect
import json
import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

from pactmeter import errors
from pactmeter.cli import main
from pactmeter.config.run import from_arguments

ROOT = Path(__file__).parents[2]
DOCS = sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
STUDIES = [ROOT / name / "README.md" for name in ("CV", "NLP", "RL", "stress")]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *STUDIES, *DOCS]
MANUAL = [ROOT / "README.md", *DOCS]


def name_of(path):
    return str(path.relative_to(ROOT))


def text_of(path):
    return path.read_text(encoding="utf-8")


def without_code(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def blocks(text, *languages):
    found = re.findall(r"^```(\S*)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [body for language, body in found if language in languages]


def anchors(path):
    """Return the anchors of a page: its headings as Markdown names them, and its own labels."""
    text = without_code(text_of(path))
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}
    return slugs | set(re.findall(r"^\(([\w-]+)\)=$", text, flags=re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_to_a_file(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        linked = (page.parent / place).resolve() if place else page
        assert linked.is_file(), f"{name_of(page)} links to {target}"
        if anchor:
            assert anchor in anchors(linked), f"{name_of(page)} links to {target}"


def test_every_page_of_the_docs_is_in_the_table_of_contents():
    listed = {
        line.strip()
        for block in blocks(text_of(ROOT / "docs/index.md"), "{toctree}")
        for line in block.splitlines()
    }

    for page in DOCS:
        name = page.relative_to(ROOT / "docs").with_suffix("").as_posix()
        assert name == "index" or name in listed


def commands_named(text):
    """Return the words after ``pactmeter`` where it is typed as a command."""
    typed = [
        re.sub(r"^(sudo )?(\"\$\(command -v pactmeter\)\"|python -m pactmeter)", "pactmeter", line)
        for block in blocks(text, "console", "bash", "sh")
        for line in re.findall(r"^\$ (.*)$", block, flags=re.MULTILINE)
    ]
    typed += re.findall(r"`((?:sudo )?pactmeter [^`]*)`", without_code(text))
    words = [re.match(r"(?:sudo )?pactmeter ([a-z]+)", line) for line in typed]
    return [match[1] for match in words if match]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_named_exists(page):
    assert set(commands_named(text_of(page))) <= set(main.COMMANDS)


def test_every_command_is_documented():
    text = text_of(ROOT / "docs/reference/cli.md")

    for name in main.COMMANDS:
        assert f"## {name}\n" in text


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_option_stands_in_the_section_of_its_command(name, capsys):
    section = text_of(ROOT / "docs/reference/cli.md").split(f"## {name}\n")[1].split("\n## ")[0]
    with pytest.raises(SystemExit):
        main.main([name, "--help"])

    for option in set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--", "--help"}:
        assert f"`{option}" in section, f"{name} {option}"


def documented_arguments():
    text = text_of(ROOT / "docs/reference/arguments.md").split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", text, flags=re.MULTILINE))


def test_the_table_of_arguments_is_that_of_the_code():
    parameters = inspect.signature(from_arguments).parameters

    documented = {n: ast.literal_eval(value) for n, value in documented_arguments().items()}

    assert documented == {name: p.default for name, p in parameters.items()}
    assert list(documented) == list(parameters)


def test_every_error_is_documented():
    classes = [
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.PactError)
    ]
    page = text_of(ROOT / "docs/reference/api.md")

    assert classes
    for name in classes:
        assert re.search(rf"\b{name}\b", page), name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_python_block_compiles(page):
    for code in blocks(text_of(page), "python"):
        compile(code, name_of(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_json_block_parses(page):
    for body in blocks(text_of(page), "json"):
        json.loads(body)


def test_every_dependency_has_its_row():
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in wanted} - {"pactmeter"}

    rows = re.findall(r"^\| ([\w-]+) \|", text_of(ROOT / "CONTRIBUTING.md"), flags=re.MULTILINE)

    assert set(rows) - {"distribution"} == names


def test_dc_power_is_never_called_wall_power():
    for page in PAGES:
        for line in text_of(page).splitlines():
            assert not re.search(r"wall power", line) or "never" in line, f"{name_of(page)}: {line}"
