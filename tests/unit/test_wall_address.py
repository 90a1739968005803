"""How wall meters are named, and that a password is never shown."""

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pactmeter.config.run import RunConfig, from_arguments
from pactmeter.errors import ConfigError
from pactmeter.model.meter import parse, parse_all, without_password


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("shelly://192.168.1.20", ("shelly", "192.168.1.20", 80, None, "192-168-1-20")),
        ("SHELLY://Plug.lan:8080/", ("shelly", "plug.lan", 8080, None, "plug")),
        ("shelly://10.0.0.5/1", ("shelly", "10.0.0.5", 80, "1", "10-0-0-5-1")),
        ("shelly://10.0.0.5/pm1:0", ("shelly", "10.0.0.5", 80, "pm1:0", "10-0-0-5-pm1-0")),
        ("shelly://[fe80::1]#rack", ("shelly", "fe80::1", 80, None, "rack")),
        ("tasmota://plug.local.#desk", ("tasmota", "plug.local", 80, None, "desk")),
        ("tasmota://plug/2", ("tasmota", "plug", 80, "2", "plug-2")),
    ],
)
def test_a_url_names_kind_host_outlet_and_channel(url, expected):
    meter = parse(url)

    assert (meter.kind, meter.host, meter.port, meter.part, meter.name) == expected
    assert meter.password is None


def test_an_ipv6_host_is_bracketed_where_it_is_shown():
    assert parse("shelly://[fe80::1]:81").place == "[fe80::1]:81"


@pytest.mark.parametrize("text", ["1%", "1", "1.0%", "1%25"])
def test_the_users_accuracy_stands_beside_the_name(text):
    meter = parse(f"shelly://plug#desk,accuracy={text}")

    assert (meter.name, meter.accuracy_pct) == ("desk", 1.0)
    assert parse(f"shelly://plug#accuracy={text}").name == "plug"


def test_user_and_password_are_decoded_and_never_shown():
    meter = parse("shelly://:p%40ss%23w%2Frd@plug/0")

    assert (meter.user, meter.password) == ("admin", "p@ss#w/rd")
    assert "p@" not in repr(meter)
    assert parse("tasmota://me:x@plug").user == "me"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("192.168.1.20", "does not say what kind"),
        ("http://192.168.1.20", "unknown kind of meter 'http'"),
        ("shely://192.168.1.20", "did you mean 'shelly'"),
        ("shelly://", "names no host"),
        ("shelly://a b", "names no host"),
        ("shelly://[fe80::1%25eth0]", "names no host"),
        ("shelly://plug:0", "not understood"),
        ("shelly://plug:99999", "wrong host or port"),
        ("shelly://plug:pass", "wrong host or port"),
        ("shelly://[::1", "wrong host or port"),
        ("shelly://plug/relay:0", "is no outlet"),
        ("tasmota://plug/0", "is no outlet"),
        ("tasmota://plug/pm1:0", "is no outlet"),
        ("shelly://plug?id=1", "not understood"),
        ("shelly://plug#my desk", "is no name"),
        ("shelly://plug#accuracy=0%", "not understood"),
        ("shelly://plug#accuracy=-1%", "not understood"),
        ("shelly://plug#accuracy=100%", "not understood"),
        ("shelly://plug#accuracy=nan", "not understood"),
        ("shelly://plug#colour=red", "not understood"),
        ("shelly://admin@plug", "no password"),
    ],
)
def test_a_wrong_url_is_told_with_what_is_wrong(url, said):
    with pytest.raises(ConfigError) as caught:
        parse(url)

    assert said in str(caught.value)
    assert caught.value.fix


def test_two_meters_of_one_name_or_one_meter_twice_are_refused():
    with pytest.raises(ConfigError, match=r"two meters would be called 'wall\.plug'"):
        parse_all(["shelly://plug.lan", "tasmota://plug.home"])
    with pytest.raises(ConfigError, match="named twice"):
        parse_all(["shelly://plug#a", "shelly://plug#b"])
    assert [m.name for m in parse_all(["shelly://plug/0", "shelly://plug/1"])] == [
        "plug-0",
        "plug-1",
    ]


SECRET = "Zq7.secret"


def error_of(url):
    try:
        parse_all([url])
    except ConfigError as error:
        return error
    return None


@settings(max_examples=50)
@given(
    prefix=st.sampled_from(["shelly://", "tasmota://", "SHELLY://", "http://", "shelly:/", ""]),
    before=st.text(max_size=8),
    after=st.text(max_size=8),
    host=st.sampled_from(["plug", "plug:x", "", "[::1", "a b", "plug#\n", "plug/x", "plug?y=1"]),
)
def test_no_message_tells_a_password(prefix, before, after, host):
    url = f"{prefix}{before}:{SECRET}{after}@{host}"

    assert SECRET not in without_password(url)
    error = error_of(url)
    assert SECRET not in f"{error} {error!r} {error and error.__cause__!r}"


@settings(max_examples=50)
@given(url=st.text(max_size=40))
def test_any_text_is_a_meter_or_a_clear_error(url):
    error = error_of(url)

    assert error is None or error.message


@pytest.mark.parametrize(
    "value", [5, {"shelly://:Zq7@plug"}, [5], [b"shelly://:Zq7@plug"], [""], {"a": "b"}]
)
def test_what_is_no_list_of_urls_is_refused(value):
    with pytest.raises(ConfigError, match="'meters'") as caught:
        from_arguments(meters=value)

    assert "Zq7" not in str(caught.value)


def test_a_single_url_none_and_a_list_are_taken():
    assert from_arguments(meters=None).meters == ()
    assert from_arguments(meters="shelly://plug").meters == ("shelly://plug",)
    config = from_arguments(meters=[" shelly://plug ", "tasmota://:x@other"])
    assert config.meters == ("shelly://plug", "tasmota://:x@other")
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert "tasmota" not in repr(config)
