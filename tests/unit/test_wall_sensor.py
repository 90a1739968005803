"""Wall meters against emulated ones over real HTTP: joules in, joules out, and every fault."""

import json
import secrets
import socket
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pactmeter.analysis.headline import headline
from pactmeter.errors import CounterResetError, DeviceError, ReadError
from pactmeter.model.channel import Domain, Kind, Origin
from pactmeter.model.meter import parse
from pactmeter.sensors import registry, wall, wall_http
from pactmeter.sensors.base import Request
from pactmeter.sensors.wall_digest import Digest
from pactmeter.sensors.wall_meter import connect
from support.virtual import VirtualRun
from support.wall_bench import Load, ShellyBench, TasmotaBench

KINDS = pytest.mark.parametrize("make", [ShellyBench, TasmotaBench])


class Clock:
    now_s = 5000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def bench(clock):
    """Start an emulated meter; all end with the test."""
    started = []

    def start(make=ShellyBench, load=None, **options):
        load = load or Load((7.31, 310.0), (4.17, 95.0))
        started.append(make(load, clock, **options))
        return started[-1]

    yield start
    for one in started:
        one.close()


def device(bench, clock, rest="#desk", login=""):
    made = connect(parse(bench.url(rest, login)), clock)
    bench.devices.append(made)
    made.open()
    return made


def refused(bench, rest="", login=""):
    with pytest.raises(DeviceError) as caught:
        connect(parse(bench.url(rest, login)))
    assert caught.value.fix
    return caught.value.message


@KINDS
def test_joules_in_are_joules_out(bench, clock, make):
    meter = bench(make)
    run = VirtualRun([device(meter, clock)], clock)
    start_s = clock.now_s

    run.call(250.0)

    true_j = meter.load.energy_j(start_s, start_s + 250.0)
    found = run.energies()
    assert found["wall.desk"].energy_j == pytest.approx(true_j, rel=0.01)
    assert abs(found["wall.desk"].energy_j - true_j) <= found["wall.desk"].u_j
    assert found["wall.desk"].coverage == pytest.approx(1.0)
    step_j = 3.6 if make is ShellyBench else 3600.0
    assert found["wall.desk.counter"].energy_j == pytest.approx(true_j, abs=step_j)
    assert found["wall.desk.counter"].u_j > step_j / 3


class Job:
    """Idle until a call, then a load that steps, and idle after it."""

    idle_w = 60.0

    def __init__(self, start_s, length_s):
        self.start_s, self.end_s = start_s, start_s + length_s
        self.load = Load((4.0, 320.0), (3.3, 180.0))

    def power_w(self, time_s):
        is_busy = self.start_s <= time_s < self.end_s
        return self.load.power_w(time_s - self.start_s) if is_busy else self.idle_w

    def energy_j(self, from_s, to_s):
        low_s, high_s = (min(max(t, self.start_s), self.end_s) for t in (from_s, to_s))
        busy_j = self.load.energy_j(low_s - self.start_s, high_s - self.start_s)
        return busy_j + self.idle_w * (to_s - from_s - (high_s - low_s))


@KINDS
@pytest.mark.parametrize("phase_s", [0.0, 0.37, 0.71])
def test_a_plug_that_shows_the_second_before_is_late_by_two_seconds_at_most(
    bench, clock, make, phase_s
):
    clock.now_s += phase_s
    job = Job(clock.now_s, 60.0)
    meter = bench(make, job, update_s=1.0)
    made = device(meter, clock)
    run = VirtualRun([made], clock)

    run.call(60.0)

    true_j = job.energy_j(job.start_s, job.end_s)
    # the start shows the machine idle, and what comes after the end belongs to no call
    missed_j = true_j - run.energies()["wall.desk"].energy_j
    assert 0.0 < missed_j < 2.0 * (320.0 - 60.0)
    assert made.channels[0].update_period_s == 1.0


@KINDS
def test_it_is_metered_ac_and_the_headline_before_any_other(bench, clock, make):
    meter = device(bench(make), clock)
    channel = meter.channels[0]
    run = VirtualRun([meter], clock)
    run.call(5.0)

    assert (channel.name, channel.domain, channel.origin) == (
        "wall.desk",
        Domain.AC,
        Origin.MEASURED,
    )
    assert channel.synthetic == "emulated"
    assert channel.accuracy_source
    first = headline(list(run.energies().values()))
    assert (first.channel, first.synthetic) == ("wall.desk", "emulated")
    # the energy counter is the same energy once more: it belongs to no domain that is summed
    assert [c.domain for c in meter.channels[1:]] == [None, None]
    assert [c.kind for c in meter.channels] == [Kind.POWER, Kind.QUANTITY, Kind.ENERGY]


@KINDS
def test_it_is_only_asked_never_told(bench, clock, make):
    meter = bench(make)
    run = VirtualRun([device(meter, clock)], clock)
    run.call(10.0)

    assert {method for method, _ in meter.asked} == {"GET"}
    pages = {path.partition("?")[0].rpartition("/")[2] for _, path in meter.asked}
    assert pages <= {"shelly", "Shelly.GetStatus", "Switch.GetStatus", "cm"}
    commands = {path.rpartition("cmnd=")[2] for _, path in meter.asked if "cmnd" in path}
    assert commands <= {"Status%200", "Status%2010", "Status%2011"}
    most_hz = 5.2 if make is ShellyBench else 2.2
    assert len(meter.asked) <= 3 + 12 * most_hz


def test_no_meter_is_contacted_unless_named():
    assert wall.discover(Request()).findings == ()
    assert "pactmeter.sensors.wall" in registry.BUILT_IN


def test_the_users_accuracy_wins(bench, clock):
    channel = device(bench(), clock, "#desk,accuracy=0.5%").channels[0]

    assert (channel.accuracy_pct, channel.accuracy_source) == (0.5, "stated by the user")


# passwords


@KINDS
def test_a_password_opens_a_meter_that_asks_for_one(bench, clock, make):
    meter = bench(make, password="p@ss w/rd#1")
    login = ":p%40ss%20w%2Frd%231@"

    assert device(meter, clock, login=login).read()[0] > 0
    assert "asks for a password" in refused(meter)
    assert "refuses the password" in refused(meter, login=":wrong@")


def test_a_shelly_never_sees_the_password_and_each_answer_is_new(bench, clock):
    meter = bench(password="Zq7-secret")
    run = VirtualRun([device(meter, clock, login=":Zq7-secret@")], clock)

    run.call(10.0)

    assert run.energies()["wall.desk"].coverage == pytest.approx(1.0)
    assert not [path for _, path in meter.asked if "Zq7" in path]
    # one challenge serves all questions: no second request each
    assert len(meter.asked) <= 5 + 12 * 5.2


def test_a_new_challenge_in_mid_run_is_answered(bench, clock):
    meter = bench(password="x")
    made = device(meter, clock, login=":x@")
    made.read()
    clock.now_s += 1.0
    meter.nonce = "restarted"

    assert made.read()[0] > 0


def test_digest_answers_as_the_rfc_does(monkeypatch):
    # the example of RFC 7616, section 3.9.1
    own = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    monkeypatch.setattr(secrets, "token_hex", lambda _: own)
    digest = Digest("Mufasa", "Circle of Life")
    assert digest.answer("/dir/index.html") is None

    assert digest.learn(
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )

    answer = digest.answer("/dir/index.html")
    assert 'response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"' in answer
    assert "nc=00000001" in answer
    assert "opaque=" in answer
    assert "nc=00000002" in digest.answer("/dir/index.html")


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        'Basic realm="x"',
        'Digest realm="x", nonce="y", qop="auth", algorithm=MD5',
        'Digest realm="x", nonce="y", qop="auth"',
        'Digest realm="x", qop="auth", algorithm=SHA-256',
        'Digest realm="x", nonce="y", algorithm=SHA-256',
    ],
)
def test_a_challenge_that_is_not_known_is_not_answered(challenge):
    digest = Digest("admin", "x")

    assert not digest.learn(challenge)
    assert digest.answer("/") is None


# what can be wrong at the start


def test_a_meter_that_is_not_there_is_an_error_with_cause_and_fix(bench):
    meter = bench()
    meter.stop()

    assert "refuses connections" in refused(meter)


def test_a_host_that_does_not_exist_is_said(monkeypatch):
    def unknown(*_args, flags=0, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DeviceError, match=r"there is no host 'plug\.nowhere'") as caught:
        connect(parse("shelly://plug.nowhere"))
    assert "IP address" in caught.value.fix


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch):
    free = threading.Event()

    def hangs(*_args, flags=0, **_options):
        if not flags:
            free.wait(10)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    monkeypatch.setattr("pactmeter.sensors.wall_meter.START_S", 0.05)
    with pytest.raises(DeviceError, match=r"no answer from plug.nowhere within 0.05 s"):
        connect(parse("shelly://plug.nowhere"))
    free.set()


def test_several_meters_are_asked_at_once_and_each_is_told(bench, monkeypatch):
    good, dead, other = bench(), bench(TasmotaBench), bench()
    dead.stop()
    other.raw = (404, b"not found")
    urls = (good.url("#a"), dead.url("#b"), other.url("#c"))

    found = wall.discover(Request(meters=urls))

    assert [d.channels[0].name for d in found.devices] == ["wall.a"]
    assert [(f.name, f.found) for f in found.findings] == [
        ("wall.a", True),
        ("wall.b", False),
        ("wall.c", False),
    ]
    assert [str(p).partition(":")[0] for p in found.problems] == ["wall.b", "wall.c"]
    monkeypatch.setattr(registry, "BUILT_IN", ("pactmeter.sensors.wall", registry.BUILT_IN[-1]))
    with pytest.raises(DeviceError, match=r"wall\.b: .* refuses connections"):
        registry.discover_all(Request(meters=urls), on_missing="raise")
    warned = registry.discover_all(Request(meters=urls), on_missing="warn")
    assert len(warned.problems) == 2
    assert warned.devices[0].channels[0].name == "wall.a"


def test_one_meter_under_two_hosts_counts_once(bench):
    meter = bench()
    urls = (meter.url("#a"), f"shelly://localhost:{meter.port}/0#b")

    found = wall.discover(Request(meters=urls))

    assert [d.channels[0].name for d in found.devices] == ["wall.a"]
    assert "wall.b is the same meter as wall.a" in str(found.problems[0])
    assert [f.found for f in found.findings] == [True, False]


def test_a_first_generation_shelly_is_named_as_such(bench):
    meter = bench()
    told = {"type": "SHPLG-S", "mac": "AABBCC", "auth": False, "fw": "20230913-113421"}
    meter.raw = (200, json.dumps(told).encode())

    assert "first generation (SHPLG-S)" in refused(meter)


def test_of_more_than_one_outlet_the_one_is_named(bench, clock):
    meter = bench(outlets=2)

    message = refused(meter)

    assert "has more than one; it measures switch:0, switch:1" in message
    assert "has no outlet 7" in refused(meter, "/7")
    first, second = device(meter, clock, "/0"), device(meter, clock, "/switch:1")
    assert second.read()[0] == pytest.approx(2 * first.read()[0], abs=0.2)
    assert first.name != second.name
    assert (first.channels[0].name, second.channels[0].name) == (
        "wall.127-0-0-1-0",
        "wall.127-0-0-1-switch-1",
    )


def test_of_several_powers_of_a_tasmota_the_one_is_named(bench, clock):
    meter = bench(TasmotaBench, outlets=3)

    assert "has more than one outlet; it measures 3" in refused(meter)
    assert "has no outlet 4" in refused(meter, "/4")
    second = device(meter, clock, "/2#desk")
    # its counter is that of all outlets
    assert [c.name for c in second.channels] == ["wall.desk", "wall.desk.input_v"]


@pytest.mark.parametrize(
    ("parts", "expected_w", "pct"),
    [
        ({"pm1:0": {"id": 0, "apower": 120.5, "voltage": 230.1}}, 120.5, 3.5),
        ({"em1:0": {"id": 0, "act_power": 99.0}}, 99.0, 5.0),
        ({"em:0": {"id": 0, "total_act_power": 1200.0, "a_current": 5.0}}, 1200.0, 5.0),
    ],
)
def test_other_parts_that_measure_are_found(bench, clock, parts, expected_w, pct):
    meter = bench()
    meter.parts = parts

    made = device(meter, clock)

    assert made.read()[0] == expected_w
    assert made.channels[0].accuracy_pct == pct


def test_a_switch_without_a_meter_is_said(bench):
    meter = bench()
    meter.parts = {"switch:0": {"id": 0, "output": True}, "light:0": {"apower": 3.0}}

    assert "does not measure power" in refused(meter)


@KINDS
def test_a_switched_off_outlet_is_no_zero_watts(bench, clock, make):
    meter = bench(make)
    meter.is_on = False
    assert "switched off" in refused(meter)
    meter.is_on = True
    made = device(meter, clock)
    meter.is_on = False

    with pytest.raises(ReadError, match="switched off"):
        made.read()


@KINDS
def test_a_meter_that_nothing_is_plugged_into_is_refused(bench, make):
    assert "shows 0 W, and this machine is running" in refused(bench(make, Load((1.0, 0.0))))


ODD = [
    (b"", "no JSON"),
    (b"\xff\xfe", "no JSON"),
    (b"<html>login</html>", "no JSON"),
    (b"[1, 2]", "no object"),
    (b"null", "no object"),
    (b"[" * 50_000, "no JSON"),
    (b"x" * 70_000, "does not answer in HTTP"),
    (b'{"id": NaN}', "no JSON"),
    (b"{}", "is no "),
]


@KINDS
@pytest.mark.parametrize(("body", "said"), ODD, ids=range(len(ODD)))
def test_what_is_no_answer_of_a_meter_is_told(bench, make, body, said):
    meter = bench(make)
    meter.raw = (200, body)

    assert said in refused(meter)


@pytest.mark.parametrize("status", [302, 404, 500, 503])
@KINDS
def test_another_status_is_told(bench, make, status):
    meter = bench(make)
    meter.raw = (status, b"{}")

    assert f"HTTP status {status}" in refused(meter)


def test_a_port_that_does_not_speak_http_is_told():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            peer, _ = server.accept()
            peer.recv(1000)
            peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            peer.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DeviceError, match="does not answer in HTTP"):
            connect(parse(f"shelly://127.0.0.1:{server.getsockname()[1]}"))
        thread.join()


# what can go wrong during the run


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (-120.0, "shows -120 W"),
        (65_535.0, "more than the 7500 W"),
        (None, "gives no apower"),
        ("12.5", "gives no apower"),
        (True, "gives no apower"),
        ([1.0], "gives no apower"),
        (float("nan"), "no JSON"),
        (float("inf"), "no JSON"),
        (10**400, "gives no apower"),
    ],
)
def test_a_power_that_cannot_be_is_a_failed_reading(bench, clock, value, said):
    meter = bench()
    made = device(meter, clock)
    meter.edit = lambda _, answer: {**answer, "apower": value}

    with pytest.raises(ReadError, match=said):
        made.read()


def test_a_meter_that_says_its_measuring_failed_is_believed(bench, clock):
    meter = bench()
    made = device(meter, clock)
    meter.edit = lambda _, answer: {**answer, "errors": ["overtemp", "power_meter_failure"]}

    with pytest.raises(ReadError, match="power_meter_failure"):
        made.read()


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
FLAT = PLAIN | st.lists(PLAIN, max_size=3)
FIELDS = ["apower", "voltage", "aenergy", "output", "errors", "StatusSNS", "id"]
FIELDS += ["ENERGY", "Power", "Total", "Voltage", "total"]
INNER = FLAT | st.dictionaries(st.sampled_from(FIELDS), FLAT, max_size=4)
JSON = INNER | st.dictionaries(st.sampled_from(FIELDS), INNER, max_size=4)


@KINDS
@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(body=st.binary(max_size=60) | st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_answer_is_a_reading_or_a_clear_failure(shared, make, body):
    meter, made = shared(make)
    meter.raw = (200, body if isinstance(body, bytes) else json.dumps(body).encode())
    made._why = made._reading = None

    try:
        power_w, *_ = made.read()
    except ReadError:
        return
    assert 0.0 <= power_w <= 7500.0


@pytest.fixture
def shared(bench, clock):
    """Give the same meter to all examples."""
    made = {}

    def get(make):
        if make not in made:
            meter = bench(make)
            made[make] = meter, device(meter, clock)
        return made[make]

    return get


@KINDS
def test_an_outage_is_a_gap_with_its_reason_and_the_meter_comes_back(bench, clock, make):
    meter = bench(make, Load((1.0, 200.0)))
    made = device(meter, clock)
    run = VirtualRun([made], clock)
    step = run._pollers[0].step

    def stepped():
        # 10 s to 20 s after the start it refuses connections
        since_s = clock.now_s - 5000.0
        if 10.0 <= since_s < 20.0 and meter.is_listening:
            meter.stop()
        elif since_s >= 20.0 and not meter.is_listening:
            meter.start()
        step()

    run._pollers[0].step = stepped
    run.call(40.0)

    energy = run.energies()["wall.desk"]
    assert energy.covered_s == pytest.approx(30.0, abs=1.5)
    assert energy.energy_j == pytest.approx(200.0 * energy.covered_s, rel=0.01)
    (gap,) = run.power.gaps
    assert "refuses connections" in gap["reason"]
    assert gap["end_s"] - gap["start_s"] == pytest.approx(10.0, abs=1.5)
    # the counter went on meanwhile
    counted = run.energies()["wall.desk.counter"]
    if make is ShellyBench:
        assert counted.energy_j == pytest.approx(8000.0, abs=40.0)


def test_a_counter_that_starts_again_costs_no_energy_and_makes_none(bench, clock):
    meter = bench(load=Load((1.0, 360.0)))
    made = device(meter, clock)
    before = [made.read()[2]]
    clock.now_s += 10.0
    before.append(made.read()[2])
    clock.now_s += 10.0
    meter.reset()

    with pytest.raises(CounterResetError, match="went back"):
        made.read()
    clock.now_s += 10.0

    assert before == pytest.approx([0.0, 3600.0], abs=0.01)
    clock.now_s += 10.0
    assert made.read()[2] == pytest.approx(3600.0 + 7200.0, abs=8.0)


def test_another_unit_at_the_same_address_is_not_read(bench, clock):
    meter = bench()
    made = device(meter, clock)
    made.close()
    meter.unit = "ffffff"

    with pytest.raises(DeviceError, match=r"shellyplugsg3-ffffff\) .* answers at .*, not .*a1b2c3"):
        made.open()
    meter.unit = "a1b2c3"
    made.open()
    assert made.read()[0] > 0


def test_a_name_that_was_changed_does_not_make_it_another_unit(bench, clock):
    meter = bench()
    made = device(meter, clock)
    made.close()
    meter.edit = lambda path, answer: {**answer, "name": "new"} if path == "/shelly" else answer

    made.open()

    assert made.read()[0] > 0


def test_a_connection_that_was_cut_while_it_rested_is_made_anew(bench, clock):
    meter = bench()
    made = device(meter, clock)
    made.read()
    clock.now_s += 1.0
    meter.cut()

    assert made.read()[0] > 0


def test_a_meter_that_closes_every_connection_is_read_all_the_same(bench, clock):
    meter = bench()
    meter.closes = True
    made = device(meter, clock)
    for _ in range(3):
        assert made.read()[0] > 0
        clock.now_s += 1.0


@pytest.mark.parametrize("fault", ["delay_s", "drip_s"])
def test_a_slow_answer_is_given_up_after_the_time_out(bench, clock, monkeypatch, fault):
    meter = bench()
    made = device(meter, clock)
    monkeypatch.setattr(made._client, "timeout_s", 0.1)
    setattr(meter, fault, 0.02 if fault == "drip_s" else 5.0)

    begin_s = wall_http.now_s()
    with pytest.raises(ReadError, match=r"no answer from .* within 0.1 s"):
        made.read()

    assert wall_http.now_s() - begin_s < 1.0
    meter.delay_s = meter.drip_s = 0.0
    made.open()
    assert made.read()[0] > 0


def test_the_time_out_during_a_run_is_shorter_than_what_a_poll_may_take(bench, clock):
    assert device(bench(), clock)._client.timeout_s == wall_http.TIMEOUT_S <= 0.5
