"""``%%pactmeter``, with a stand-in for the shell that has what the magic uses of IPython's."""

import ast
import codeop

import pytest

import pactmeter
from pactmeter.errors import ConfigError, SamplerError
from pactmeter.integrations.notebook import arguments, load_ipython_extension


class Compiler(codeop.Compile):
    """As IPython's: compiles trees, and keeps sources by name."""

    def ast_parse(self, source):
        return ast.parse(source)

    def cache(self, source):
        return "<cell>"


class Shell:
    """As much of IPython's shell as the magic needs."""

    def __init__(self):
        self.user_ns = {}
        self.compile = Compiler()
        self.magics = {}

    def register_magic_function(self, function, kind, name):
        self.magics[kind, name] = function

    def transform_cell(self, cell):
        return cell

    def transform_ast(self, tree):
        return tree

    def cell(self, text, line=""):
        return self.magics["cell", "pactmeter"](line, text)


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Shell()
    load_ipython_extension(made)
    return made


@pytest.mark.usefixtures("gauge")
def test_a_cell_is_run_in_the_notebook_s_names_and_its_figures_are_printed(shell, capsys):
    value = shell.cell("import time\ntime.sleep(0.3)\nx = 20\nx + 1")

    assert value == 21
    assert shell.user_ns["x"] == 20
    out = capsys.readouterr().out
    assert out.startswith("PACT run  complete, 1 call, 0.3")
    assert "energy    3" in out


@pytest.mark.usefixtures("gauge")
def test_each_cell_is_a_run_of_its_own_and_earlier_ones_are_kept(shell, tmp_path):
    shell.cell("1", line='tracker_file_name="a.csv"')
    shell.cell("2", line='tracker_file_name="a.csv"')

    assert len(list(tmp_path.glob("a*.counters.csv"))) == 2


@pytest.mark.usefixtures("gauge")
def test_what_a_cell_raises_passes_through_after_its_figures(shell, capsys):
    with pytest.raises(ZeroDivisionError):
        shell.cell("1 / 0")

    assert capsys.readouterr().out.startswith("PACT run  complete, 1 call")


def test_a_cell_without_any_source_of_power_says_so(shell, sysfs, capsys):
    shell.cell("pass")

    assert "energy    not measured" in capsys.readouterr().out


def test_load_ext_finds_the_extension_by_the_package_s_name():
    assert pactmeter.load_ipython_extension is load_ipython_extension


def test_wrong_arguments_are_told_and_the_cell_is_not_run(shell):
    with pytest.raises(ConfigError, match="did you mean 'measure_period'"):
        shell.cell("x = 1", line="mesure_period=1")
    assert shell.user_ns == {}


@pytest.mark.parametrize(
    "line", ["quickly", "measure_period", "a=b", "a=(", "*x", "a" * 10_000, "\0"]
)
def test_words_that_are_no_arguments_are_told(line):
    with pytest.raises(ConfigError, match="cannot read"):
        arguments(line)


def test_a_sampler_that_cannot_start_leaves_the_earlier_run_s_figures_out(
    shell, tmp_path, monkeypatch, capsys
):
    def dies(setup):
        raise SamplerError("it died")

    monkeypatch.setattr("pactmeter.session.run.SamplerProcess", dies)
    (tmp_path / "PACT.csv").write_text("an earlier run")

    assert shell.cell("7", line='on_error="warn"') == 7
    assert "no figures: PACT measures nothing" in capsys.readouterr().out
