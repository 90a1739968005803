import pytest

from pactmeter.analysis import carbon
from pactmeter.errors import ConfigError


def test_a_kilowatt_hour_is_exactly_3_600_000_joules():
    assert carbon.footprint(3_600_000.0).kwh == 1.0
    assert carbon.footprint(3_600_000.0).carbon_g is None


def test_pue_multiplies_and_cannot_be_below_one():
    assert carbon.footprint(3_600_000.0, pue=1.5, intensity=carbon.given(100)).carbon_g == 150.0
    for pue in (0.9, float("nan")):
        with pytest.raises(ConfigError, match="PUE"):
            carbon.footprint(1.0, pue=pue)


@pytest.mark.parametrize("name", ["DE", "deu", "Germany"])
def test_a_country_is_found_by_either_code_or_name_with_its_latest_year_and_source(name):
    found = carbon.for_region(name)
    assert found.region == "Germany"
    assert found.year >= 2024
    assert 100 < found.g_per_kwh < 700
    assert "Ember" in found.source


def test_a_region_within_a_country_is_found():
    found = carbon.for_region("US-AL")
    assert found.region.startswith("Alabama")
    assert found.g_per_kwh == pytest.approx(323.9)


def test_an_unknown_region_is_told_with_near_ones():
    with pytest.raises(ConfigError, match="Germany"):
        carbon.for_region("Germny")


def test_an_impossible_intensity_is_refused():
    with pytest.raises(ConfigError):
        carbon.given(-1)


def test_every_table_names_its_source_and_licence():
    for name in (carbon.COUNTRIES, carbon.REGIONS, "cpu_tdp.csv"):
        with carbon.open_table(name) as lines:
            head = "".join(line for line in lines if line.startswith("#")).lower()
        assert "source" in head or "epa" in head
        assert any(word in head for word in ("licence", "public domain", "government work"))
