import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.export import latex
from pactmeter.model.channel import Domain
from support.rights import refuse
from support.written import AC, DC, GPU, gauge, written

TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|%[^\n]*\n?|[{}&$#_^~]|[^\\%{}&$#_^~]+", re.DOTALL)
NEEDED = [
    "PactEnergy",
    "PactPower",
    "PactDuration",
    "PactSource",
    "PactOrigin",
    "PactCoverage",
    "PactVerdict",
    "PactSentence",
]


def tokens(text):
    """Return the tokens of LaTeX; nothing may be left over."""
    found = TOKEN.findall(text)
    assert "".join(found) == text
    return found


def check(text):
    """Fail where something is not closed, or a special character is bare."""
    depth, maths = 0, 0
    for token in tokens(text):
        depth += {"{": 1, "}": -1}.get(token, 0)
        maths += token == "$"
        assert depth >= 0
        assert token not in {"#", "_", "^"}
    assert depth == 0
    assert maths % 2 == 0
    for name in ("tabular",):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}")
    table = text.partition(r"\begin{tabular}")[2].partition(r"\end{tabular}")[0]
    for row in table.split(r"\\")[:-1]:
        assert row.count("&") - row.count(r"\&") == 5 or r"\multicolumn{6}" in row


def macros(text):
    return dict(re.findall(r"^\\renewcommand\*\{\\(\w+)\}\{(.*)\}$", text, flags=re.MULTILINE))


def made(run, tmp_path):
    latex.write(run, tmp_path / "run.tex")
    text = (tmp_path / "run.tex").read_text()
    check(text)
    return text


def test_macros_table_sentence_and_bibtex_are_there(tmp_path):
    text = made(written(tmp_path, {AC: 330.0, DC: 300.0, GPU: 100.0}), tmp_path)

    found = macros(text)
    assert set(NEEDED) <= found.keys()
    assert "18000 +- 920" in found["PactEnergy"]
    assert found["PactOrigin"] == "measured"
    assert r"\cite{pactmeter}" in found["PactSentence"]
    assert r"\toprule" in text
    assert r"psu.ac\_input & estimated & " in text
    bib = (tmp_path / "run.bib").read_text()
    assert bib.startswith("@misc{pactmeter,")
    assert bib.count("{") == bib.count("}")


def test_what_the_program_marked_stands_in_the_sentence(tmp_path):
    marks = {"data": "made up", "weights": "100% random"}
    config = {"measure_period_s": 1.0, "marks": marks}

    text = made(written(tmp_path, {DC: 300.0}, more={"config": config}), tmp_path)

    assert macros(text)["PactMarks"] == r"data: made up, weights: 100\% random"
    assert r" (\PactMarks) and its energy" in macros(text)["PactSentence"]


def test_macros_that_are_used_are_defined(tmp_path):
    text = made(written(tmp_path, {DC: 300.0}), tmp_path)

    used = set(re.findall(r"\\(Pact\w+)", text))
    defined = set(re.findall(r"\\providecommand\*?\{\\(Pact\w+)\}", text))
    assert used == defined


def test_a_run_without_energy_says_so(tmp_path):
    text = made(written(tmp_path, {}, events=("faults",)), tmp_path)

    assert macros(text)["PactEnergy"] == "unknown"
    assert "no energy was measured" in macros(text)["PactSentence"]
    assert r"\multicolumn{6}{l}{no energy was measured}" in text


def test_an_uncertainty_that_nobody_knows_is_unknown(tmp_path):
    plug = gauge("wall.plug", Domain.AC, accuracy=None)

    text = made(written(tmp_path, {plug: 100.0}), tmp_path)

    assert "unknown uncertainty" in macros(text)["PactSentence"]
    assert "& {unknown} &" in text


def test_emulated_devices_are_called_so_in_sentence_and_table(tmp_path):
    text = made(written(tmp_path, {gauge("gpu0", Domain.GPU, synthetic="emulated"): 5.0}), tmp_path)

    assert macros(text)["PactOrigin"] == "measured, emulated"
    assert "gpu0 & measured, emulated &" in text


@given(st.text())
def test_any_text_is_set_as_it_is_or_as_question_marks(text):
    shown = latex.escaped(text)

    assert "\n" not in shown
    assert all(" " <= c <= "~" or "\xa1" <= c <= "\xff" for c in shown)
    check(shown)


@pytest.mark.parametrize(
    ("value", "u", "expected"),
    [
        (24031.7, 1201.6, ("24000", "1200")),
        (2.34567, 0.0213, ("2.346", "0.021")),
        (99.96, 0.0996, ("99.96", "0.10")),
        (-0.001, 0.5, ("0.00", "0.50")),
        (5.0, 0.0, ("5.000", "0.000")),
        (0.0, None, ("0", None)),
        (123456.0, None, ("123500", None)),
    ],
)
def test_figures_are_rounded_as_their_uncertainty(value, u, expected):
    assert latex.stated(value, u) == expected


PAPER = r"""
\documentclass{article}
\usepackage{booktabs,siunitx}
\input{run}
\begin{document}\sloppy
\PactSentence{} \PactHost, \PactFile, \PactDate, \PactStatus

\begin{table}\centering\PactTable\end{table}
\bibliographystyle{plain}\bibliography{run}
\end{document}
"""


def typeset(folder):
    """Return what pdfLaTeX says while it makes a paper of what was exported."""
    if shutil.which("pdflatex") is None:
        refuse("apt-get install texlive-latex-recommended texlive-science")
    (folder / "paper.tex").write_text(PAPER)
    latex_words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper"]
    for words in (latex_words, ["bibtex", "paper"], latex_words, latex_words):
        done = subprocess.run(words, cwd=folder, capture_output=True, timeout=120, check=False)
        said = done.stdout.decode("utf-8", "replace")
        assert done.returncode == 0, said
    return said


def test_latex_makes_a_paper_of_it_without_a_warning(tmp_path):
    sources = {DC: 300.0, AC: 330.0, GPU: 100.0, gauge("cpu.package0", Domain.PACKAGE): 40.0}
    made(written(tmp_path, sources), tmp_path)

    said = typeset(tmp_path)

    assert not re.findall(r".*(?:Warning|Overfull|undefined).*", said)
    assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF")


def test_latex_survives_any_name(tmp_path):
    name = r"\input{x} 100% & #1 $x_2^3$ ~ {} [b] * \" ' ` é ß \u202e \u05d0 \n" + "y" * 10_000
    more = {"host": {"name": name}, "status": "incomplete", "reason": name}
    made(written(tmp_path, {DC: 300.0, gauge(name[:60], Domain.GPU): 1.0}, more=more), tmp_path)

    assert "Output written" in typeset(tmp_path)
