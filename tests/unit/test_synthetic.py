"""What is called emulated is what is, and no more."""

import pytest

from pactmeter.analysis.synthetic import synthetic_told
from pactmeter.cli.main import main
from pactmeter.model.channel import Domain
from support.written import DC, gauge, write

FAKE = gauge("gpu0", Domain.GPU, synthetic="emulated")
OLD = gauge("gpu1", Domain.GPU, synthetic="replayed")


@pytest.mark.parametrize(
    ("channels", "told"),
    [
        ([], ""),
        ([DC], ""),
        ([FAKE], "emulated devices"),
        ([FAKE, OLD], "emulated and replayed devices"),
        ([DC, FAKE], "emulated: gpu0"),
        ([DC, OLD, FAKE], "emulated: gpu0; replayed: gpu1"),
        ([DC, *[FAKE] * 5], "emulated: gpu0, gpu0, gpu0 and 2 more"),
    ],
)
def test_channels_are_named_unless_all_are_synthetic(channels, told):
    assert synthetic_told(channels) == told


@pytest.mark.parametrize(
    ("sources", "note"),
    [
        ({DC: 300.0}, None),
        ({DC: 300.0, FAKE: 100.0}, "note      emulated: gpu0\n"),
        ({FAKE: 100.0}, "note      emulated devices\n"),
    ],
)
def test_an_export_says_what_of_it_is_emulated(sources, note, tmp_path, capsys):
    file = write(tmp_path, sources)

    assert main(["export", str(file), "--to", "long", "-o", str(tmp_path / "out.csv")]) == 0

    said = capsys.readouterr().out
    assert "emulated" not in said if note is None else said.endswith(note)
