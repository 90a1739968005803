"""N devices give N times, and whatever the machine consists of, nothing is counted twice."""

import math

import pytest

from pactmeter.analysis.headline import headline
from pactmeter.analysis.summary import summarize
from pactmeter.bench.gpu import PRESETS
from pactmeter.bench.loads import Span
from pactmeter.bench.machine import Machine, parse_psu
from pactmeter.bench.topology import topology
from pactmeter.model.channel import Domain
from support import children
from support.devices import benched, gpu_environment
from support.virtual import VirtualRun

WINDOW_S = 20.0
GPU = PRESETS["v100"]
TWO_PSUS = ("hx1500i,tau=0.3,serial=A1", "hx1500i,tau=0.3,serial=B2,share=2")


def measured(machine, **devices):
    """Return a run of all devices of a machine, and its true joules."""
    with benched(machine, **devices) as bench:
        start_s = bench.clock()
        run = VirtualRun(bench.devices, bench.clock)
        run.call(WINDOW_S)
    return run, machine.true_energy(start_s, start_s + WINDOW_S)


def without_psu(found):
    """Return what a machine has whose power supply tells nothing."""
    return [one for one in found if not one.channel.startswith("psu")]


# --- N devices give N times ---------------------------------------------------------------------


def several(gpus, packages, psus):
    """Return joules, reported and true, of a machine with so many devices of each kind."""
    machine = Machine(
        map(parse_psu, psus),
        packages=packages,
        gpus=[Span(GPU.idle_w, GPU.busy_w)] * gpus,
        load="training",
        # so that one device in another's place would show
        loads={f"gpu{n}": f"steady:{100 + 20 * n}" for n in range(1, gpus, 2)}
        | {f"cpu.package{n}": f"steady:{50 + 20 * n}" for n in range(1, packages, 2)},
    )
    run, true_j = measured(machine, topology=f"{packages}x", gpus=[GPU] * gpus)
    found = run.energies()
    return {
        "devices": {name: [one.energy_j, true_j.get(name)] for name, one in found.items()},
        "subtotal": [one.energy_j, one.label]
        if (one := headline(without_psu(found.values())))
        else None,
        "headline": [one.energy_j, one.label] if (one := headline(list(found.values()))) else None,
        "machine": math.fsum(true_j[name] for name in machine.spans),
    }


@pytest.mark.parametrize(
    ("gpus", "packages", "psus"),
    [(n, 1 + (n - 1) % 4, TWO_PSUS if n % 2 == 0 else TWO_PSUS[:1]) for n in range(1, 9)],
)
def test_n_devices_give_n_times(gpus, packages, psus, tmp_path, figures):
    found = children.run(__file__, "several", gpus, packages, psus, env=gpu_environment(tmp_path))
    devices = found["devices"]
    names = {
        "GPU": [f"gpu{n}" for n in range(gpus)],
        "package": [f"cpu.package{n}" for n in range(packages)],
        "PSU": [f"psu{n or ''}.dc_output" for n in range(len(psus))],
    }
    true_j = math.fsum(devices[name][1] for name in names["GPU"] + names["package"])
    errors = {
        kind: max(abs(100 * (devices[name][0] / devices[name][1] - 1)) for name in group)
        for kind, group in names.items()
    }
    subtotal_j, label = found["subtotal"]
    whole_j, _ = found["headline"]
    figures(
        f"N devices give N times: {WINDOW_S:.0f} s, errors in %",
        *("GPUs", "packages", "PSUs", "worst GPU", "worst package", "worst PSU"),
        *("CPU + GPU subtotal", "headline (PSUs)"),
    ).add(
        *(gpus, packages, len(psus)),
        *(f"{error:.3f}" for error in errors.values()),
        f"{100 * (subtotal_j / true_j - 1):+.3f}",
        f"{100 * (whole_j / found['machine'] - 1):+.3f}",
    )

    kinds = ("gpu", "cpu.package", "dc_output")
    assert {n for n in devices if any(k in n for k in kinds)} == {
        n for g in names.values() for n in g
    }
    assert errors["GPU"] <= 0.3
    assert errors["package"] <= 0.1
    assert errors["PSU"] <= 0.5 * math.sqrt(60 / WINDOW_S)
    assert label.startswith("CPU + GPU measured subtotal")
    assert subtotal_j == pytest.approx(sum(devices[n][0] for n in names["GPU"] + names["package"]))
    assert subtotal_j == pytest.approx(true_j, rel=0.002)
    assert whole_j == pytest.approx(sum(devices[name][0] for name in names["PSU"]))
    assert whole_j == pytest.approx(found["machine"], rel=0.01)


# --- topologies of RAPL -------------------------------------------------------------------------

TOPOLOGIES = {
    "1x": "package",
    "1x,nodram": "package",
    "1x,psys": "psys",
    "2x,psys": "psys",
    "1x,mmio": "package",
    "2x,psys,mmio": "psys",
    "4x,nocore,nouncore": "package",
    "2x,reversed": "package",
    "1x,die2": "package",
    "2x,die2": "package",
    "amd": None,
    "2x,amd": None,
}
"""What the headline is without a power supply: AMD's counters are a model, so nothing."""


@pytest.mark.parametrize("spec", TOPOLOGIES)
def test_nothing_of_a_topology_is_counted_twice(spec, figures):
    zones = topology(spec)
    machine = Machine(
        [parse_psu("hx1500i,tau=0.3")],
        packages=zones.packages,
        load="training",
        loads={f"cpu.package{n}": f"steady:{50 + 20 * n}" for n in range(1, zones.packages)},
    )
    run, true_j = measured(machine, topology=spec)
    found = run.energies()
    rapl = without_psu(found.values())
    by_domain = {
        domain: [one for one in rapl if one.domain is domain]
        for domain in (Domain.PACKAGE, Domain.CORE, Domain.UNCORE, Domain.DRAM, Domain.PSYS)
    }
    first = headline(rapl)
    expected_j = None
    if TOPOLOGIES[spec]:
        expected_j = math.fsum(
            true_j[zone.component]
            for zone in zones.zones
            if TOPOLOGIES[spec] in zone.component and zone.control == "intel-rapl"
        )
    figures(
        f"Twelve topologies of RAPL: {WINDOW_S:.0f} s, joules",
        *("zones", "package", "core", "uncore", "dram", "psys", "headline without PSU", "truth"),
    ).add(
        spec,
        *(
            f"{sum(one.energy_j for one in group):.1f} ({len(group)})"
            for group in by_domain.values()
        ),
        f"{first.energy_j:.1f}" if first else "none",
        f"{expected_j:.1f}" if expected_j else "-",
    )

    shown = {zone.component for zone in zones.zones}
    assert {one.channel for one in rapl} == shown
    for one in rapl:
        assert one.energy_j == pytest.approx(true_j[one.channel], rel=0.001)
        assert one.gaps == 0
    for n in range(zones.packages):
        parts = [found.get(f"cpu.{part}{n}") for part in ("core", "uncore")]
        inside_j = sum(part.energy_j for part in parts if part)
        assert inside_j < found[f"cpu.package{n}"].energy_j
    for psys in by_domain[Domain.PSYS]:
        beside = by_domain[Domain.PACKAGE] + by_domain[Domain.DRAM]
        assert psys.energy_j > sum(one.energy_j for one in beside)
    if expected_j is None:
        assert first is None
    else:
        assert first.energy_j == pytest.approx(expected_j, rel=0.001)
    summary = summarize(run.recorded())
    assert summary["headline"]["channel"] == "psu.dc_output"
    assert len(summary["sources"]) == len(found) == 2 + len(shown)
    origins = [channel.description for channel in run.recorded().channels]
    assert not any("mmio" in origin for origin in origins)


if __name__ == "__main__":
    children.answer(globals())
