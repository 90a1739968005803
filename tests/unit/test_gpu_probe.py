"""`pactmeter probe gpu` on simulated cards: every figure within its stated uncertainty.

A simulated card draws a power that is known at every moment and shows it as a generation of real
cards does (arXiv 2312.02741): a mean over a window, renewed at an update period. Time is simulated
too, so that three minutes take a second.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import random
import time
import types
from array import array
from bisect import bisect_right

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pactmeter.analysis.gpu_energy import PollingCost
from pactmeter.analysis.gpu_probe import examine
from pactmeter.analysis.gpu_update import Unknown, UpdatePeriod, update_period, updates
from pactmeter.analysis.gpu_window import BOXCAR, EITHER, EXPONENTIAL, window
from pactmeter.cli import probe
from pactmeter.errors import ConfigError, DeviceError
from pactmeter.report.probe import render
from pactmeter.sensors import gpu_load, nvml
from pactmeter.sensors.gpu_load import Edge, square_wave
from pactmeter.sensors.gpu_probe import Recorder, Series

IDLE_W, BUSY_W = 60.0, 300.0
READ_S = 30e-6


class Clock:
    def __init__(self, late_s=0.0, seed=0):
        self.time_s = 1000.0
        self.late_s = late_s
        self.chance = random.Random(seed)

    def now(self):
        return self.time_s

    def sleep(self, duration_s):
        self.time_s += duration_s + self.chance.random() * self.late_s


class Truth:
    """Power that jumps between idle and busy; its integral is exact."""

    def __init__(self, edges=()):
        self.times_s, self.powers_w, self.done_j = [-100.0], [IDLE_W], [0.0]
        for edge in edges:
            self.switch(*edge)

    def switch(self, time_s, on):
        self.done_j.append(self.energy_j(time_s))
        self.times_s.append(time_s)
        self.powers_w.append(BUSY_W if on else IDLE_W)

    def energy_j(self, time_s):
        i = bisect_right(self.times_s, time_s) - 1
        return self.done_j[i] + self.powers_w[i] * (time_s - self.times_s[i])

    def mean_w(self, from_s, to_s):
        return (self.energy_j(to_s) - self.energy_j(from_s)) / (to_s - from_s)


class Load:
    name = "a simulated load"
    edge_u_s = 0.0

    def __init__(self, truth, clock):
        self.truth, self.clock = truth, clock
        self.told = []

    def start(self, timeout_s):
        self.clock.sleep(min(5.0, timeout_s))

    def switch(self, on):
        self.truth.switch(self.clock.now(), on)
        self.told.append(Edge(self.clock.now(), on))

    def edges(self):
        return self.told

    def close(self):
        pass


class LostError(Exception):
    pass


@dataclasses.dataclass
class Card:
    """A card of some generation; what it draws for being polled is added to its counter."""

    clock: Clock
    truth: Truth
    update_s: float = 0.1
    window_s: float = 0.1
    average_s: float | None = None
    energy_s: float | None = 0.1
    gain: float = 1.0
    noise_w: float = 0.0
    poll_j: float = 0.0
    lost_at_s: float = math.inf
    errors: type[Exception] = LostError

    def __post_init__(self):
        self.polls = 0
        self.quantities = ("usage",)
        if self.average_s:
            self.quantities += ("instant", "average")
        if self.energy_s is not None:
            self.quantities += ("energy",)

    def read(self, quantity):
        self.clock.time_s += READ_S
        now = self.clock.now()
        if now > self.lost_at_s:
            raise LostError("GPU is lost")
        if quantity == "energy":
            self.polls += 1
            at_s = now // self.energy_s * self.energy_s if self.energy_s else 1000.0
            return round(self.gain * self.truth.energy_j(at_s) + self.poll_j * self.polls, 3)
        update = now // self.update_s
        at_s = update * self.update_s
        long = self.average_s and quantity != "instant"
        mean_w = self.truth.mean_w(at_s - (self.average_s if long else self.window_s), at_s)
        noise_w = self.noise_w * random.Random(int(update)).gauss(0, 1) if self.noise_w else 0.0
        return round(mean_w + noise_w, 3)


def probed(duration_s=180.0, loaded=True, late_s=0.0, **card):
    clock, truth = Clock(late_s), Truth()
    load = Load(truth, clock) if loaded else None
    recorder = Recorder(Card(clock, truth, **card), clock, lambda text: None)
    recording = recorder.record(load, duration_s)
    if not loaded:
        recording.no_load = "none was wanted"
    assert clock.now() - 1000.0 <= duration_s
    return examine(recording)


GENERATIONS = {
    "maxwell": {"update_s": 0.031, "window_s": 0.014, "energy_s": None},
    "pascal": {"update_s": 0.020, "window_s": 0.010, "energy_s": None},
    "volta": {"update_s": 0.020, "window_s": 0.010, "energy_s": 0.020},
    "turing": {"update_s": 0.1, "window_s": 0.1},
    "rtx8000": {"update_s": 0.1, "window_s": 0.020},
    "a100": {"update_s": 0.1, "window_s": 0.025},
    "ampere": {"update_s": 0.1, "window_s": 0.1, "average_s": 1.0},
    "h100": {"update_s": 0.1, "window_s": 0.025, "average_s": 1.0},
}


@pytest.mark.parametrize("name", GENERATIONS)
def test_each_generation_is_recognised(name):
    card = GENERATIONS[name]
    found = probed(noise_w=1.5, late_s=2e-4, **card)

    lengths_s = {"usage": card.get("average_s") or card["window_s"]}
    if "average_s" in card:
        lengths_s |= {"instant": card["window_s"], "average": card["average_s"]}
    for reading, length_s in lengths_s.items():
        period, length = found.periods[reading], found.windows[reading]
        assert abs(period.period_s - card["update_s"]) <= period.u_s < 0.001
        assert length.shape == BOXCAR
        assert abs(length.length_s - length_s) <= length.u_s
        assert length.u_s <= max(0.003, 0.03 * length_s)
        share_pct = min(100, 100 * length_s / card["update_s"])
        assert found.seen[reading].seen_pct == pytest.approx(share_pct, abs=8)
    if card.get("energy_s", 0.1) is not None:
        counter = found.periods["energy"]
        assert abs(counter.period_s - card.get("energy_s", 0.1)) <= counter.u_s
        for closure in (*found.loaded.values(), *found.resting.values()):
            assert abs(closure.closure_pct) <= closure.u_pct + 0.05
            assert closure.u_pct < 5
        assert abs(found.polling.extra_w) <= found.polling.u_w + 0.01 < 1.0
    else:
        assert found.loaded == {}
        assert "no energy counter" in found.polling.reason


def polled(rng, truth, update_s, window_s, until_s, *, noise_w, missed, jitter_s, delay_s):
    """Return readings as a program gets them that is sometimes late or stopped for a while."""
    first_s = -3.0 - rng.random() * update_s
    count = int((until_s + 4.0) / update_s)
    shown_s = [first_s + k * update_s for k in range(count)]
    values = [truth.mean_w(t - window_s, t) + rng.gauss(0, noise_w) for t in shown_s]
    series, now = Series(), 0.0
    while now < until_s:
        series.add(now, round(values[bisect_right(shown_s, now - delay_s) - 1], 3))
        now += 0.001 + rng.random() * jitter_s
        if rng.random() < missed:
            now += 0.1 * rng.random()
    return series


def random_card(rng, bursts=2):
    edges = square_wave(2.0, bursts, 8.0, 2.0)
    update_s = rng.uniform(0.015, 0.12)
    window_s = math.exp(rng.uniform(math.log(0.01), math.log(1.0)))
    series = polled(
        rng,
        Truth(edges),
        update_s,
        window_s,
        2.0 + 10.0 * bursts,
        noise_w=rng.choice([0.0, 1.0, 3.0]),
        missed=rng.choice([0.0, 0.003, 0.01]),
        jitter_s=rng.choice([1e-4, 5e-4, 1e-3]),
        delay_s=rng.uniform(0.0, 0.03),
    )
    return update_s, window_s, series, edges


def test_of_random_cards_19_in_20_lie_within_the_stated_uncertainty():
    cards, good = 40, {"period": 0, "window": 0}
    for seed in range(cards):
        update_s, window_s, series, edges = random_card(random.Random(seed))
        period = update_period(series)
        good["period"] += abs(period.period_s - update_s) <= period.u_s
        renewed = updates(series, period.period_s)
        found = window(renewed, edges, period.period_s, period.poll_s)
        good["window"] += abs(found.length_s - window_s) <= found.u_s

    assert min(good.values()) >= 0.95 * cards, good


@settings(max_examples=40, deadline=None)
@given(
    update_s=st.floats(0.015, 0.12),
    jitter_s=st.floats(0.0, 0.002),
    missed=st.sampled_from([0.0, 0.01, 0.03]),
    noise_w=st.sampled_from([0.0, 2.0]),
    seed=st.integers(0, 10_000),
)
def test_the_update_period_is_no_multiple_of_itself(update_s, jitter_s, missed, noise_w, seed):
    rng = random.Random(seed)
    truth = Truth(square_wave(2.0, 2, 8.0, 2.0))
    options = {"noise_w": noise_w, "missed": missed, "jitter_s": jitter_s, "delay_s": 0.0}
    series = polled(rng, truth, update_s, 0.05, 22.0, **options)

    assert update_period(series).period_s == pytest.approx(update_s, rel=0.01)


def test_a_fading_memory_is_told_from_a_window():
    edges = square_wave(2.0, 3, 8.0, 2.0)
    truth, series = Truth(edges), Series()
    shown_w, tau_s, step_s = IDLE_W, 0.2, 0.001
    for k in range(32_000):
        now = k * step_s
        shown_w += (truth.mean_w(now - step_s, now + 1e-9) - shown_w) * step_s / tau_s
        series.add(now, round(shown_w, 1) if k % 20 == 0 else series.values[-1])

    period = update_period(series)
    found = window(updates(series, period.period_s), edges, period.period_s, period.poll_s)

    assert found.shape == EXPONENTIAL
    assert found.length_s == pytest.approx(tau_s, abs=found.u_s)
    assert found.u_s < 0.05


def test_too_few_caught_edges_widen_the_uncertainty():
    rng = random.Random(3)
    edges = square_wave(2.0, 1, 3.0, 2.0)
    options = {"noise_w": 1.0, "missed": 0.0, "jitter_s": 1e-4, "delay_s": 0.0}
    series = polled(rng, Truth(edges), 0.1, 0.01, 7.0, **options)

    found = window(updates(series, 0.1), edges, 0.1, 0.001)

    assert found.shape == EITHER
    assert found.u_s > 0.02


def test_readings_that_come_before_their_load_are_no_window():
    rng = random.Random(4)
    edges = square_wave(2.0, 2, 8.0, 2.0)
    options = {"noise_w": 1.0, "missed": 0.0, "jitter_s": 1e-4, "delay_s": 0.0}
    series = polled(rng, Truth(edges), 0.1, 0.05, 22.0, **options)
    late = [edge._replace(time_s=edge.time_s + 0.03) for edge in edges]

    assert "before their load" in window(updates(series, 0.1), late, 0.1, 0.001).reason


def test_a_value_that_is_soon_replaced_is_no_update():
    rng = random.Random(5)
    edges = square_wave(2.0, 2, 8.0, 2.0)
    options = {"noise_w": 1.0, "missed": 0.0, "jitter_s": 1e-4, "delay_s": 0.0}
    series = polled(rng, Truth(edges), 0.1, 0.025, 22.0, **options)
    for change in range(1, len(series)):  # for some ms after each third update: a wrong value
        if series.values[change] != series.values[change - 1] and change % 3 == 0:
            series.values[change : change + 4] = array("d", [123.0] * 4)

    found = window(updates(series, 0.1), edges, 0.1, 0.001)

    assert abs(found.length_s - 0.025) <= found.u_s < 0.003
    assert found.explained_pct > 99


def test_a_stuck_counter_is_told():
    found = probed(energy_s=0.0)

    assert found.periods["energy"] == Unknown("the reading never changed")
    assert found.loaded["usage"].closure_pct == -100
    assert found.polling == Unknown("the energy counter does not move at rest")
    assert "the energy counter does not move: do not use it" in found.advice


def test_a_counter_that_misses_43_percent_shows_in_the_closure():
    found = probed(gain=0.57)

    for closure in (found.loaded["usage"], found.resting["usage"]):
        assert closure.closure_pct == pytest.approx(-43, abs=closure.u_pct + 0.1)
        assert closure.u_pct < 2
    assert any("differ by -43 %" in line for line in found.advice)
    assert not any("take energy from the counter" in line for line in found.advice)


def test_the_cost_of_polling_is_found():
    found = probed(poll_j=0.02)  # 100 polls a second: 2 W

    assert found.polling.extra_w == pytest.approx(2.0, abs=max(0.1, found.polling.u_w))
    assert found.polling.per_poll_j == pytest.approx(0.02, abs=found.polling.u_w / 90)
    assert any("W at rest: poll slowly" in line for line in found.advice)


def test_without_a_load_an_idle_card_stays_unknown():
    found = probed(duration_s=60.0, loaded=False)

    assert found.periods["usage"] == Unknown("the reading never changed")
    assert found.windows["usage"] == Unknown("no load of known times: none was wanted")
    assert isinstance(found.seen["usage"], Unknown)
    assert isinstance(found.periods["energy"], UpdatePeriod)  # it counts at rest too
    assert abs(found.loaded["usage"].closure_pct) < 0.5
    assert isinstance(found.polling, PollingCost)


def test_without_a_load_noise_still_shows_the_update_period():
    found = probed(duration_s=60.0, loaded=False, noise_w=0.5)

    assert found.periods["usage"].period_s == pytest.approx(0.1, abs=1e-4)


def test_a_short_probe_leaves_out_what_takes_longer():
    found = probed(duration_s=20.0, update_s=0.1, window_s=0.025)

    assert "takes --duration 51 or more" in found.polling.reason
    assert "takes --duration 51 or more" in found.resting["usage"].reason
    assert found.periods["usage"].period_s == pytest.approx(0.1, abs=0.001)
    assert abs(found.windows["usage"].length_s - 0.025) <= found.windows["usage"].u_s


def test_a_reading_that_does_not_follow_the_load_has_no_window():
    clock, truth = Clock(), Truth()
    load = Load(Truth(), clock)  # another card's
    card = Card(clock, truth, noise_w=1.0)
    found = examine(Recorder(card, clock, lambda text: None).record(load, 40.0))

    assert found.windows["usage"] == Unknown("the reading does not follow the load")


def test_a_card_that_is_renewed_faster_than_polled_is_told_so():
    found = probed(duration_s=40.0, update_s=1e-4, window_s=1e-4, noise_w=1.0)

    assert "renewed faster than it was polled" in found.periods["usage"].reason
    assert found.windows["usage"].length_s <= 0.003


def test_a_reading_whose_renewals_hold_up_every_poll_stays_unknown():
    series, now_s = Series(), 0.0
    for number in range(800):
        now_s += 0.02 if number % 40 == 0 else 0.001
        series.add(now_s, float(number // 40))
    assert "polls were missed" in update_period(series).reason


def test_a_card_that_is_lost_ends_the_probe_with_the_reason():
    clock, truth = Clock(), Truth()
    card = Card(clock, truth, lost_at_s=1000.0 + 130.0)
    recording = Recorder(card, clock, lambda text: None).record(Load(truth, clock), 180.0)

    assert "stopped answering: LostError (GPU is lost)" in recording.problem
    assert clock.now() < 1135.0
    examine(recording)


def test_the_table_has_a_reason_for_everything_unknown_and_json_too():
    found = probed(duration_s=20.0, loaded=False)
    table = render("gpu0", found, {"average": "NVMLError_NotSupported"}, ["a note"])

    for line in table.splitlines():
        if "unknown" in line:
            assert len(line.split("unknown")[1].strip()) > 10, line
    assert "not given" in table
    data = json.loads(json.dumps(found.to_dict()))
    assert data["update_period"]["usage"] == {"reason": "the reading never changed"}
    assert data["update_period"]["energy"]["period_s"] == pytest.approx(0.1, abs=1e-3)


def test_the_load_ends_off_and_never_repeats_a_half_period():
    edges = square_wave(0.0, 6, 8.0, 2.0)

    assert not edges[-1].on
    assert all(a.on != b.on and a.time_s < b.time_s for a, b in itertools.pairwise(edges))
    lengths_s = [b.time_s - a.time_s for a, b in itertools.pairwise(edges)]
    assert len({round(length_s, 4) for length_s in lengths_s}) > 0.9 * len(lengths_s)
    assert min(lengths_s) >= 0.03


# --- which cards, which load ----------------------------------------------------------------------


def command(*words):
    parser = argparse.ArgumentParser()
    probe.prepare(parser)
    return probe.run(parser.parse_args(["gpu", *words]))


def test_without_a_gpu_the_cause_and_the_fix_are_told(sysfs):
    with pytest.raises(DeviceError, match=r"no GPU to probe: .*libnvidia-ml.so.1") as told:
        command()

    assert told.value.fix
    assert told.value.exit_code == 1


def test_a_sleeping_gpu_is_not_woken(sysfs, monkeypatch):
    card = sysfs / "bus/pci/devices/0000:01:00.0"
    (card / "power").mkdir(parents=True)
    (card / "vendor").write_text("0x10de\n")
    (card / "class").write_text("0x030000\n")
    (card / "power/runtime_status").write_text("suspended\n")
    monkeypatch.setattr(nvml.library, "acquire", lambda: pytest.fail("NVML was started"))

    with pytest.raises(DeviceError, match=r"0000:01:00.0 is suspended and is not woken"):
        command()


@pytest.mark.parametrize("duration", ["5", "181", "nan"])
def test_a_probe_keeps_within_three_minutes(duration):
    with pytest.raises(ConfigError, match="a probe takes 15 to 180 s"):
        command("--duration", duration)


def card_to_load(**given):
    options = {"index": 0, "synthetic": None, "is_partitioned": False, "uuid": "GPU-1"}
    return types.SimpleNamespace(**options | {"others": lambda: 0} | given)


def test_a_gpu_that_others_use_is_not_loaded_unasked(monkeypatch):
    monkeypatch.setattr(gpu_load, "TorchLoad", lambda card: "torch")
    monkeypatch.setattr(gpu_load.importlib.util, "find_spec", lambda name: True)

    assert gpu_load.choose("auto", card_to_load()) == ("torch", "")
    load, why = gpu_load.choose("auto", card_to_load(others=lambda: 2))
    assert load is None
    assert "other programs" in why
    assert gpu_load.choose("torch", card_to_load(others=lambda: 2)) == ("torch", "")
    assert gpu_load.choose("none", card_to_load())[0] is None


def test_without_torch_there_is_no_load_and_the_fix_is_told(monkeypatch):
    monkeypatch.setattr(gpu_load.importlib.util, "find_spec", lambda name: None)

    assert gpu_load.choose("auto", card_to_load()) == (
        None,
        "torch is not installed (pip install torch)",
    )
    with pytest.raises(DeviceError, match="torch is not installed"):
        gpu_load.choose("torch", card_to_load())


def test_an_emulated_gpu_is_never_loaded_by_torch_unasked(monkeypatch):
    monkeypatch.delenv("PACTMETER_BENCH", raising=False)
    monkeypatch.setattr(gpu_load, "TorchLoad", lambda card: pytest.fail("torch was started"))

    load, why = gpu_load.choose("auto", card_to_load(synthetic="emulated"))

    assert load is None
    assert "PACTMETER_BENCH" in why


TORCH = """
import time
float16 = None
end = 0.0
def device(name):
    assert name == "cuda:0"
def randn(*size, device, dtype):
    pass
def mm(a, b):
    global end
    end = max(end, time.monotonic()) + 1e-4
class cuda:
    class Event:
        def record(self):
            self.end = end
        def synchronize(self):
            time.sleep(max(0.0, self.end - time.monotonic()))
"""


@pytest.fixture
def torch(tmp_path, monkeypatch):
    """Give a torch whose products take 0.1 ms and no GPU; it can be changed before it starts."""
    folder = tmp_path / "torch"
    folder.mkdir()
    (folder / "__init__.py").write_text(TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return folder / "__init__.py"


def test_torch_is_switched_within_milliseconds_and_tells_when(torch):
    load = gpu_load.TorchLoad(card_to_load())
    try:
        load.start(30.0)
        asked = []
        for on in (True, False, True, False):
            asked.append(Edge(time.monotonic(), on))
            load.switch(on)
            time.sleep(0.05)
        edges = load.edges()
    finally:
        load.close()

    assert [edge.on for edge in edges] == [True, False, True, False]
    for wanted, edge in zip(asked, edges, strict=True):
        assert 0 <= edge.time_s - wanted.time_s < 0.04


def test_torch_that_finds_no_gpu_is_told(torch):
    torch.write_text("def device(name):\n    raise RuntimeError('no CUDA GPUs are available')\n")
    load = gpu_load.TorchLoad(card_to_load())
    try:
        with pytest.raises(DeviceError, match=r"RuntimeError.*no CUDA GPUs are available"):
            load.start(30.0)
    finally:
        load.close()


def test_torch_that_dies_under_the_load_leaves_the_window_unknown(torch):
    load = gpu_load.TorchLoad(card_to_load())
    load.start(30.0)
    load._process.kill()
    load._process.wait()
    load.switch(on=True)

    with pytest.raises(DeviceError, match="torch died under the load"):
        load.edges()
    load.close()
