"""A comparison of two commands, on runs that are written rather than measured."""

import itertools
import json
import math
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.cli.main import main
from pactmeter.errors import ConfigError, FileError, PactError
from pactmeter.study.ab import FILE, Plan, compare, orders
from pactmeter.study.ab_stats import FIRST_LOOK
from pactmeter.study.ab_text import answer, render
from support.ab_runs import COMMANDS, Emulated, ended, finished

WIGGLE = (1.0, 1.004, 0.996, 1.002, 0.999, 1.001, 0.997, 1.003)


class Told:
    """Commands that do as told: `a` and `b` return what a run of that number is like."""

    def __init__(self, a=None, b=None):
        self.of = {"a": a or (lambda n: {}), "b": b or (lambda n: {})}
        self.counts = {"a": itertools.count(), "b": itertools.count()}
        self.calls, self.said, self.rests = [], [], []

    def __call__(self, words, folder):
        name = words[0]
        number = next(self.counts[name])
        self.calls.append(folder.name)
        usual = {"watts": 300.0 * WIGGLE[number % 8]}
        if name == "b":
            usual = {"watts": 270.0 * WIGGLE[(number + 3) % 8]}
        return finished(folder, **{**usual, **self.of[name](number)})

    def compare(self, folder, **more):
        plan = Plan(COMMANDS, folder, **{"runs": 4, "seed": 1, **more})
        return compare(plan, self, self.warm, tell=self.said.append, rest=self.rests.append)

    def warm(self, words, folder):
        self.calls.append(f"warm {words[0]}")
        return ended(0)


@given(st.integers(2, 40), st.integers(0, 2**31))
def test_of_two_pairs_one_begins_with_a_and_one_with_b(runs, seed):
    found = orders(runs, seed)

    assert len(found) == runs
    assert all({*two} == {"AB", "BA"} for two in zip(found[::2], found[1::2], strict=False))
    assert found == orders(runs, seed)


def test_orders_differ_with_the_seed():
    assert len({tuple(orders(20, seed)) for seed in range(20)}) > 15


def test_both_run_in_the_order_of_the_seed_each_in_a_folder_of_its_own(tmp_path):
    told = Told()
    told.compare(tmp_path / "ab", runs=5, seed=3, cool_down_s=7.0)

    wanted = [f"{side}_{n:02d}" for n, both in enumerate(orders(5, 3), 1) for side in both]
    assert told.calls == wanted
    assert all((tmp_path / "ab" / name / "PACT.csv").exists() for name in wanted)
    assert told.rests == [7.0] * 9


def test_the_answer_stands_in_one_line(tmp_path):
    slow = Told(b=lambda n: {"row_s": 0.88 + 0.001 * n, "watts": 300.0 * WIGGLE[n]})
    found = slow.compare(tmp_path / "ab")

    text = render(found)
    assert re.fullmatch(
        r"B uses 1\d\.\d % less \(95 % interval 1\d\.\d to 1\d\.\d\), 1\d\.\d % faster; that"
        r" resolves 0\.\d+ %",
        text.splitlines()[0],
    )
    assert "psu.dc_output" in text
    assert "cancels in B / A" in text
    assert "seed 1" in text
    assert all(len(line) < 180 for line in text.splitlines())


def test_pairs_without_any_scatter_are_not_tested_and_that_is_said(tmp_path):
    found = Told(lambda n: {"watts": 300.0}, lambda n: {"watts": 270.0}).compare(tmp_path / "ab")

    assert "without scatter nothing can be tested, in the same time" in answer(found)
    assert not found.main.differ


def test_more_pairs_are_asked_for_where_the_noise_hides_one_percent(tmp_path):
    loud = Told(b=lambda n: {"watts": 300.0 * (1 + 0.06 * (-1) ** n)})
    found = loud.compare(tmp_path / "ab", runs=6)

    assert re.search(r"at this noise \d+ more pairs would resolve 1 %", answer(found))
    assert "no difference in energy is shown" in answer(found)
    assert found.pairs_needed > 6


def test_a_margin_shows_what_is_the_same(tmp_path):
    alike = Told(b=lambda n: {"watts": 300.3 * WIGGLE[n + 2]})
    found = alike.compare(tmp_path / "ab", margin_pct=2)

    assert "the same within 2 %" in answer(found)


def test_without_energy_time_is_compared_and_that_is_said(tmp_path):
    dark = {"watts": None}
    short = Told(lambda n: dark, lambda n: dark | {"row_s": 0.9 + 0.001 * n})
    found = short.compare(tmp_path / "ab")

    assert found.source is None
    assert set(found.figures) == {"duration_s"}
    assert answer(found).startswith("B is 9.")
    assert "no energy to compare" in answer(found)
    assert any("no energy was measured" in note for note in found.notes)


def test_energy_per_unit_of_work_is_compared_where_both_tell_of_it(tmp_path):
    half = Told(
        lambda n: {"output": 'PACT-WORK {"steps": 10, "samples": 100, "loss_last": 0.2}\n'},
        lambda n: {"output": 'PACT-WORK {"steps": 10, "samples": 50, "loss_last": 0.1}\n'},
    )
    found = half.compare(tmp_path / "ab")

    assert found.per == "samples"
    per = found.figures["j_per_work"]
    assert per.unit == "J/sample"
    assert per.value == pytest.approx(2 * found.figures["energy_j"].value)
    assert re.search(r"B uses \d+\.\d % less .*, per sample \d\d\.\d % more", answer(found))


def test_where_both_do_the_same_work_it_is_in_the_table_alone(tmp_path):
    same = {"output": 'PACT-WORK {"steps": 10}\n'}
    found = Told(lambda n: same, lambda n: same).compare(tmp_path / "ab")

    assert "per step" not in answer(found)
    assert "J/step" in render(found)


def test_results_are_no_work(tmp_path):
    loss = {"output": 'PACT-WORK {"loss_last": 0.2}\n'}
    found = Told(lambda n: loss, lambda n: loss).compare(tmp_path / "ab")

    assert found.per is None


def test_made_up_data_beside_real_data_is_told(tmp_path):
    made, real = (f'PACT-WORK {{"steps": 9, "data": "{d}"}}\n' for d in ("made up", "real"))
    found = Told(lambda n: {"output": made}, lambda n: {"output": real}).compare(tmp_path / "ab")

    assert any("made up, real" in note for note in found.notes)


def test_marks_that_are_no_texts_count_as_not_told(tmp_path):
    odd, real = ('PACT-WORK {"steps": 9, "data": ["x"]}\n', 'PACT-WORK {"data": "real"}\n')
    found = Told(lambda n: {"output": odd}, lambda n: {"output": real}).compare(tmp_path / "ab")

    assert any("not told, real" in note for note in found.notes)


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        ({"code": 3}, "ended with exit code 3: ValueError: no data"),
        ({"output": 'PACT-WORK {"steps": 0}\n'}, "did no work"),
        ({"output": "PACT-WORK {broken\n"}, "damaged"),
        ({"more": {"status": "incomplete", "reason": "killed"}}, "incomplete"),
    ],
)
def test_a_run_that_failed_is_kept_and_told_and_its_pair_left_out(tmp_path, odd, told):
    bad = Told(b=lambda n: odd if n == 1 else {})
    found = bad.compare(tmp_path / "ab", runs=6)

    assert found.main.n == 5
    assert any(told in line for line in bad.said)
    assert any(told in note and "pair 2 is left out" in note for note in found.notes)
    assert (tmp_path / "ab" / "B_02" / "out.txt").exists()
    journal = json.loads((tmp_path / "ab" / FILE).read_text())
    assert [t["pair"] for t in journal["trials"] if t["reason"]] == [2]
    assert journal["status"] == "complete"


def test_too_many_failures_end_it(tmp_path):
    bad = Told(b=lambda n: {"code": 1})

    with pytest.raises(PactError, match="3 of 3 pairs failed") as caught:
        bad.compare(tmp_path / "ab", runs=8)

    assert caught.value.exit_code == 1
    assert json.loads((tmp_path / "ab" / FILE).read_text())["status"] == "failed"


def test_a_pair_without_energy_counts_for_time_alone(tmp_path):
    gone = Told(b=lambda n: {"watts": None} if n == 0 else {})
    found = gone.compare(tmp_path / "ab", runs=5)

    assert found.figures["energy_j"].n == 4
    assert found.figures["duration_s"].n == 5
    assert any("time alone" in note for note in found.notes)


SILENT = [None] * 10
BOTH, NOTHING = "psu.dc_output + psu2.dc_output", "psu2.dc_output gave no reading"


def test_a_supply_that_gave_nothing_in_all_runs_of_b_is_no_saving(tmp_path):
    two = Told(
        lambda n: {"watts": 150.0 * WIGGLE[n], "second": 150.0},
        lambda n: {"watts": 150.0 * WIGGLE[n + 2], "second": SILENT, "row_s": 1 + 0.001 * n},
    )
    found = two.compare(tmp_path / "ab")

    assert set(found.figures) == {"duration_s"}
    assert found.source is None
    assert "no energy to compare" in answer(found)
    assert any(f"A {BOTH}, B none: {NOTHING}" in note for note in found.notes)
    journal = json.loads((tmp_path / "ab" / FILE).read_text())
    assert {t["side"]: " + ".join(t["sources"]) for t in journal["trials"]} == {"A": BOTH, "B": ""}
    assert {t["side"]: t["gaps"] for t in journal["trials"]} == {"A": None, "B": NOTHING}


def test_a_supply_that_gave_nothing_at_all_is_the_reason_and_not_that_nothing_was_measured(
    tmp_path,
):
    silent = Told(*[lambda n: {"watts": 150.0 * WIGGLE[n], "second": SILENT}] * 2)
    found = silent.compare(tmp_path / "ab")

    assert any(f"A none: {NOTHING}, B none: {NOTHING}" in note for note in found.notes)
    assert not any("no energy was measured" in note for note in found.notes)


def test_a_supply_that_gave_nothing_once_leaves_out_the_energy_of_that_pair_alone(tmp_path):
    def of(watts):
        return lambda n: {"watts": watts * WIGGLE[n], "second": 150.0}

    two = Told(of(150.0), lambda n: {**of(120.0)(n), **({"second": SILENT} if n == 1 else {})})
    found = two.compare(tmp_path / "ab", runs=5)

    assert found.figures["energy_j"].n == 4
    assert found.figures["energy_j"].value == pytest.approx(0.9, rel=0.01)
    without = f"without energy of the same sources (A {BOTH}, B none: {NOTHING})"
    assert f"1 pair counts for time alone, {without}" in found.notes


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path):
    Told().compare(tmp_path / "ab")
    before = sorted(path.read_bytes() for path in (tmp_path / "ab").rglob("*") if path.is_file())

    with pytest.raises(FileError, match="in use") as caught:
        Told().compare(tmp_path / "ab")

    assert "ab-2" in caught.value.fix
    after = sorted(path.read_bytes() for path in (tmp_path / "ab").rglob("*") if path.is_file())
    assert after == before


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    (tmp_path / "ab").write_text("")

    with pytest.raises(FileError):
        Told().compare(tmp_path / "ab")


def test_a_warm_up_is_run_before_and_counts_for_nothing(tmp_path):
    told = Told()
    found = told.compare(tmp_path / "ab", warm_up=True)

    first = orders(4, 1)[0].lower()
    assert told.calls[:2] == [f"warm {first[0]}", f"warm {first[1]}"]
    assert found.pairs == 4
    assert not list(tmp_path.glob("ab/warm_up_*/PACT.csv"))


def test_it_stops_as_soon_as_the_interval_is_narrow_enough_and_not_before(tmp_path):
    record = Emulated(5, 5.0)
    plan = Plan(COMMANDS, tmp_path / "ab", runs=40, seed=1, until_pct=1.5)
    found = compare(plan, record, record, tell=lambda _: None)

    assert FIRST_LOOK <= found.pairs < 40
    assert found.main.half_pct <= 1.5
    assert f"{found.pairs} of at most 40" in render(found)


def test_every_figure_of_a_comparison_that_may_stop_has_the_wider_interval(tmp_path):
    work = {"output": 'PACT-WORK {"steps": 10}\n'}

    def made(name, **more):
        told = Told(lambda n: work, lambda n: {**work, "row_s": 0.88 + 0.001 * n})
        return told.compare(tmp_path / name, runs=8, **more).figures

    plain, may_stop = made("plain"), made("until", until_pct=0.01)

    assert set(may_stop) == {"energy_j", "duration_s", "mean_w", "j_per_work"}
    for name, found in may_stop.items():
        assert found.n == 8
        assert found.half_pct > plain[name].half_pct, name


def test_ctrl_c_leaves_the_runs_and_says_so_in_the_journal(tmp_path):
    def stop(number):
        if number == 2:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        Told(b=stop).compare(tmp_path / "ab", runs=6)

    journal = json.loads((tmp_path / "ab" / FILE).read_text())
    assert journal["status"] == "broken off"
    assert len(journal["trials"]) >= 4


def breaking_off(at, *, failing=None):
    """Return commands of which B's run of a number is broken off, and one fails."""

    def of(number):
        if number == at:
            raise KeyboardInterrupt
        return {"code": 1} if number == failing else {}

    return Told(b=of)


def test_broken_off_it_tells_the_command_that_takes_the_whole_pairs_alone(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    told = breaking_off(4, failing=1)

    with pytest.raises(KeyboardInterrupt):
        told.compare(tmp_path / "my ab", runs=6, seed=2)

    command = shlex.split(told.said[-1].partition(": ")[2])
    files = {side: [f"my ab/{side}_0{n}/PACT.csv" for n in (1, 3, 4)] for side in "AB"}
    assert command == ["pactmeter", "compare", "--paired", *files["A"], "--vs", *files["B"]]
    assert main(command[1:]) == 0
    assert "psu.dc_output" in capsys.readouterr().out


def test_broken_off_before_two_pairs_are_whole_it_tells_no_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = breaking_off(1)

    with pytest.raises(KeyboardInterrupt):
        told.compare(tmp_path / "ab")

    assert told.said[-1] == "broken off: the runs are kept in ab"


def test_the_journal_holds_plan_runs_and_answer(tmp_path):
    found = Told().compare(tmp_path / "ab", seed=42)

    journal = json.loads((tmp_path / "ab" / FILE).read_text())
    assert journal["seed"] == 42
    assert journal["orders"] == orders(4, 42)
    assert journal["commands"] == COMMANDS
    assert journal["result"]["figures"]["energy_j"]["value"] == found.main.value
    assert len(journal["trials"]) == 8
    assert all(t["energy_j"] > 0 for t in journal["trials"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"runs": 1},
        {"runs": 10**6},
        {"cool_down_s": -1.0},
        {"cool_down_s": math.nan},
        {"until_pct": 0.0, "runs": 30},
        {"until_pct": 1.0, "runs": FIRST_LOOK},
        {"margin_pct": 100.0},
        {"margin_pct": math.nan},
    ],
)
def test_an_impossible_plan_is_refused(tmp_path, wrong):
    with pytest.raises(ConfigError) as caught:
        Plan(COMMANDS, tmp_path, **{"runs": 8, "seed": 1, **wrong})

    assert caught.value.fix.startswith("--")
