"""Sphinx configuration: `make docs` builds with warnings as errors."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from pactmeter import __version__

project = "PACT"
author = "The PACT authors"
copyright = author  # noqa: A001  # the name that Sphinx asks for
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Docstrings name code in single backquotes, as Markdown does.
default_role = "code"
# No inventory of another project is fetched: a build needs no network.
nitpick_ignore_regex = [
    ("py:.*", r"(pd|pandas|pathlib|types|os|collections|typing)\..*"),
    ("py:.*", r"(Path|TracebackType|Any|Domain|P|R|ParamSpec|TypeVar|RunConfig|OpenCall)"),
    ("py:.*", r"pactmeter\.(config|session)\.(run|session)\.(RunConfig|OpenCall|Run|Call)"),
    ("py:.*", r"(str|int|float|bool|dict|list|tuple|None|type|object|Exception|ValueError)"),
    ("py:.*", r"(optional|BaseException|bytes)"),
]

html_theme = "furo"
html_title = f"PACT {release}"
