"""What a runner does where what stands around the trials goes wrong."""

from pactmeter.study import journal, runner
from support.studies import defined


def test_a_baseline_that_does_not_end_is_ended_and_the_study_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "baseline_command", lambda *_: ["sleep", "60"])
    monkeypatch.setattr(runner, "BASELINE_S", -0.9)
    study = defined({"cv": ["a"]}, trials=1, baseline_s=1.0, cool_down_s=0.0)
    said = []

    found = runner.run(study, tmp_path / "s", runner.Wanted(), said.append)

    assert found.failed  # `true` measures nothing, but it was run
    told = [e["reason"] for e in journal.read(tmp_path / "s") if e["event"] == "baseline"]
    assert told == ["it had not ended after 0.1 s"] * 2
    assert "note: no baseline: it had not ended after 0.1 s" in said
