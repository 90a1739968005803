"""What a fault may do to a measurement, and whether it did no more."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from pactmeter.model.channel import Domain, Kind
from support.faulty import BEGIN_S, CALL_S, POLL_S, Emulated


@dataclass(frozen=True)
class Case:
    """A fault of a device, and what it may do to a channel.

    Attributes:
        faults: Orders, as of the command line, parted by blanks.
        uncovered_s: What truly cannot be known because of it.
        slack_s: By how much more may be left out.
        reason: What the reason of the gaps must hold; None: there is no gap.
        exchanges: How often a supply may be asked in one poll.
        repeats: Whether readings are old ones again; they are taken back later.
    """

    faults: str
    uncovered_s: float
    slack_s: float = POLL_S
    reason: str | None = None
    exchanges: int = 2
    repeats: bool = False
    short_reports: bool = False

    def but(self, **changes):
        """Return the case with some of it changed."""
        return replace(self, **changes)

    @property
    def id(self):
        names = [order.partition(":")[2].replace("@5.03", "") for order in self.faults.split()]
        return " ".join(names) + (" (short reports pass)" if self.short_reports else "")


def extremes_w(source, from_s, to_s):
    """Return the lowest and the highest power between two times, of straight pieces."""
    inside_s = [from_s, *source.straight_between_s(from_s, to_s), to_s]
    powers = [source.power_w(t_s) for t_s in inside_s]
    return min(powers), max(powers)


def readings_are_true(machine, channel):
    """Check each single reading against the power of its moment; none may be made up or old."""
    source = machine.source(channel)
    for device in machine.devices:
        for index, found in enumerate(device.channels):
            if found.name != channel:
                continue
            if found.kind is Kind.ENERGY:
                _steps_are_true(source, device, index, machine.update_s)
            else:
                step_w = found.resolution or 0.5
                for from_s, to_s, values, _ in device.readings:
                    if values is not None:
                        low_w, high_w = extremes_w(source, from_s - machine.update_s, to_s)
                        assert low_w - step_w <= values[index] <= high_w + step_w


def _steps_are_true(source, device, index, update_s):
    """Check that a counter never counts more than flowed; that it counts all, the energy tells."""
    before_s, before_j = None, 0.0
    for _, to_s, values, _ in device.readings:
        if values is None or values[index] is None:
            continue
        if before_s is not None:
            most_j = source.energy_j(before_s - update_s, to_s) + 0.001
            assert 0.0 <= values[index] - before_j <= most_j
        before_s, before_j = to_s, values[index]


def rows_are_true(machine, run, channel):
    """Check that each row's mean lies between the extremes of the power in it."""
    columns = run.recorded().columns
    watts, ends_s = columns[f"{channel}_w"], columns["due_s"]
    for end_s, window_s, mean_w in zip(ends_s, columns["window_s"], watts, strict=True):
        if mean_w is not None:
            span_s = BEGIN_S + end_s - window_s, BEGIN_S + end_s
            low_w, high_w = extremes_w(machine.source(channel), *span_s)
            assert low_w - 2.0 <= mean_w <= high_w + 2.0


def covered_windows(gaps, call_s):
    """Return what gaps leave of a call."""
    windows, from_s = [], 0.0
    for gap in sorted(gaps, key=lambda one: one["start_s"]):
        windows.append((from_s, max(from_s, gap["start_s"])))
        from_s = max(from_s, gap["end_s"])
    return [*windows, (from_s, max(from_s, call_s))]


def judge(machine, run, channel, case, *, call_s=CALL_S, poll_s=POLL_S, alone=True):
    """Check what a fault did to a channel (alone: and to no other device).

    Returns:
        The row of the table behind the fault's name.
    """
    energy = run.energies()[channel]
    gaps = [g for g in run.recorded().manifest["gaps"] if channel in g["channels"]]
    about = f"{energy.gap_s:.3f} s uncovered, gaps {gaps}"
    assert -poll_s - 1e-6 <= energy.gap_s - case.uncovered_s <= case.slack_s + 1e-6, about
    if case.reason is None:
        assert gaps == []
    else:
        assert gaps, case.reason
        assert all(pytest.approx(g["end_s"]) != g["start_s"] for g in gaps)
        assert case.reason in gaps[0]["reason"]
    windows = covered_windows(gaps if case.uncovered_s else [], call_s)
    source = machine.source(channel)
    true_j = sum(source.energy_j(BEGIN_S + a, BEGIN_S + b) for a, b in windows)
    peak_w = extremes_w(source, BEGIN_S, BEGIN_S + call_s)[1]
    bound_j = 0.003 * true_j + len(gaps) * poll_s * peak_w
    assert energy.energy_j == pytest.approx(true_j, abs=bound_j), about
    if not case.repeats:
        readings_are_true(machine, channel)
    is_gauge = any(
        c.name == channel and c.kind is Kind.POWER for d in machine.devices for c in d.channels
    )
    if is_gauge and not case.repeats:
        rows_are_true(machine, run, channel)
    if alone:
        others_are_whole(run, channel)
    for device in machine.devices:
        polled = [asked for *_, asked in device.readings[1:]]
        assert max(polled) <= case.exchanges, "exchanges in one poll"
    error_pct = 100 * (energy.energy_j - true_j) / true_j if true_j else 0.0
    return f"{case.uncovered_s:.2f}", f"{energy.gap_s:.2f}", f"{error_pct:+.2f}"


def others_are_whole(run, channel):
    """Check that the other devices have lost nothing; parts of one device go with it."""
    mine = channel.partition(".")[0]
    for energy in run.energies().values():
        if energy.domain in {
            Domain.DC,
            Domain.PACKAGE,
            Domain.GPU,
        } and not energy.channel.startswith(mine):
            assert energy.coverage > 0.995
            assert energy.gaps == 0


COLUMNS = ("device", "fault", "uncovered s, true", "reported", "error of the covered J, %")
TITLE = "Faults on the emulated machine (calls of 20 s; virtual clock unless live)"


def emulated_case(case, channel, folder, monkeypatch, **machine):
    """Run a case on a machine; return its row of the table, and machine and run."""
    emulated = Emulated(folder, monkeypatch, short_reports=case.short_reports, **machine)
    for order in case.faults.split():
        emulated.order(order)
    with emulated.running():
        run = emulated.measure()
    return judge(emulated, run, channel, case), emulated, run
