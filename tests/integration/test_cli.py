"""The command line, as a stranger would type it."""

import json
import math
import os
import pty
import re
import resource
import select
import signal
import subprocess
import sys

import pytest

from pactmeter.analysis.run import load
from pactmeter.cli import doctor, setup
from pactmeter.cli.main import COMMANDS, main
from support.machine import Machine
from support.pmus import ABSENT_TYPE, add_pmu


def pactmeter(*words, cwd, env=None, **options):
    return subprocess.run(
        [sys.executable, "-m", "pactmeter", *map(str, words)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


@pytest.mark.usefixtures("gauge")
def test_run_gives_the_commands_exit_code_and_output(tmp_path):
    done = pactmeter("run", "-o", "out.csv", "--", "sh", "-c", "echo said; exit 7", cwd=tmp_path)
    assert done.returncode == 7
    assert done.stdout == "said\n"
    assert "PACT run  complete" in done.stderr
    assert len(done.stderr.splitlines()) <= 15
    run = load(tmp_path / "out.csv")
    assert (run.status, run.manifest["calls"]) == ("complete", 1)
    assert run.manifest["command"][:2] == ["sh", "-c"]


def test_a_command_that_a_signal_ends_gives_128_and_its_number(tmp_path):
    done = pactmeter("run", "-q", "--", "sh", "-c", "kill -9 $$", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (137, "")


@pytest.mark.usefixtures("gauge")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_sent_to_us_goes_on_to_the_command(tmp_path, number):
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo got; exit 9' {name}; echo in; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        [sys.executable, "-m", "pactmeter", "run", "-q", "--", "bash", "-c", script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "in\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (9, "got\n")
    assert load(tmp_path / "PACT.csv").status == "complete"


@pytest.mark.perf("user")
def test_the_command_is_counted_and_we_are_not(tmp_path):
    code = (
        "import mmap, resource\n"
        "def faults():\n"
        "    used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "    return used.ru_minflt + used.ru_majflt\n"
        "first = faults()\n"
        "m = mmap.mmap(-1, 200_000_000)\n"
        "for i in range(0, 200_000_000, 4096): m[i] = 1\n"
        "print(first, faults())\n"
    )
    done = pactmeter("run", "-e", "FAULTS", "--", sys.executable, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, last = map(int, done.stdout.split())
    counted = sum(v for v in load(tmp_path / "PACT.csv").columns["faults"] if v is not None)
    # the program's own count begins with our fork, ours with its exec, and ends after it
    assert last - first < counted
    assert counted == pytest.approx(last, abs=first)


def test_what_is_no_command_is_told_with_the_shells_exit_codes(tmp_path):
    done = pactmeter("run", "--", "no-such-program", cwd=tmp_path)
    assert done.returncode == 127
    assert "command not found" in done.stderr
    (tmp_path / "plain").write_text("x")
    assert pactmeter("run", "--", "./plain", cwd=tmp_path).returncode == 126
    assert pactmeter("run", cwd=tmp_path).returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


def test_an_error_before_the_command_leaves_it_unstarted(tmp_path):
    words = ("run", "--psu", "Corsair_1500i", "--", "touch", "started")
    done = pactmeter(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "1b1c:1c1f" in done.stderr
    assert list(tmp_path.iterdir()) == []
    done = pactmeter("run", "--warn", *words[1:], cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "started").exists()


@pytest.mark.perf("user")
def test_the_json_report_has_the_documented_keys(tmp_path):
    with Machine(tmp_path / "sys") as machine:
        pactmeter("run", "-q", "-o", "p.csv", "--", "sleep", "1.2", cwd=tmp_path, env=machine.env)
    done = pactmeter("report", "p.csv", "--json", cwd=tmp_path)
    data = json.loads(done.stdout)
    assert data["schema"] == 1
    assert set(data) >= {
        *("schema", "status", "reason", "duration_s", "calls", "headline", "sources"),
        *("counters", "verdict", "sampler"),
    }
    assert (data["status"], data["calls"]) == ("complete", 1)
    for source in data["sources"]:
        assert set(source) >= {
            *("channel", "domain", "origin", "synthetic", "energy_j", "u_j", "mean_w"),
            *("coverage", "gaps"),
        }
        assert source["energy_j"] == pytest.approx(100.0 * data["duration_s"], rel=0.02)
    counters = data["counters"]
    assert list(counters) == ["migrations", "faults", "cache-misses", "cycles"]
    assert set(counters["faults"]) == {"total", "scope", "status", "reason", "running_share"}
    assert counters["faults"]["total"] > 50
    assert data["verdict"]["level"] in {"1%", "2%", "5%", "none"}
    for check in data["verdict"]["checks"]:
        assert set(check) == {"id", "outcome", "figure", "text", "rule", "todo"}
        assert check["outcome"] in {"pass", "warn", "fail"}
    assert set(data["sampler"]) == {"cpu_s", "late_rows", "rows"}
    assert data["duration_s"] > 1.2
    assert data["sampler"]["rows"] == math.ceil(data["duration_s"])


def test_carbon_is_told_only_with_a_region_or_an_intensity_that_was_named(tmp_path, gauge):
    pactmeter("run", "-q", "--", "sleep", "0.3", cwd=tmp_path)
    plain = pactmeter("report", "PACT.csv", cwd=tmp_path)
    assert "kWh" in plain.stdout
    assert "gCO2e" not in plain.stdout
    both = pactmeter(
        "report", "PACT.csv", "--region", "DE", "--carbon-intensity", "100", cwd=tmp_path
    )
    assert both.returncode == 2
    wrong = pactmeter("report", "PACT.csv", "--region", "Germny", cwd=tmp_path)
    assert "Germany" in wrong.stderr
    words = ("report", "PACT.csv", "--region", "DE")
    named = pactmeter(*words, cwd=tmp_path)
    assert named.returncode == 0
    assert re.search(r"gCO2e \(\d+.* g/kWh: Germany", named.stdout)
    given = pactmeter("report", "PACT.csv", "--carbon-intensity", "100", "--json", cwd=tmp_path)
    footprint = json.loads(given.stdout)["footprint"]
    assert footprint["carbon_g"] == pytest.approx(100 * footprint["kwh"])
    assert footprint["carbon_g"] > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["report", "none.csv"], "there is no run"),
        (["report", "program.txt"], "no manifest"),
        (["reprot"], "invalid choice"),
        ([], "required"),
        (["run", "-e", ",", "--", "true"], "--events"),
        (["run", "-e", "FALTS", "--", "true"], "FAULTS"),
        (["run", "--measure-period", "0", "--", "true"], "should be positive"),
    ],
)
def test_a_wrong_command_line_is_told_in_plain_words(tmp_path, words, told):
    (tmp_path / "program.txt").write_text("hello")
    done = pactmeter(*words, cwd=tmp_path)
    assert done.returncode in {1, 2}
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "usage: pactmeter" in capsys.readouterr().out


def test_a_status_line_stands_on_a_terminal_and_never_in_a_pipe(tmp_path):
    words = [sys.executable, "-m", "pactmeter", "run", "-q", "--"]
    quiet = subprocess.run([*words, "sleep", "1.5"], cwd=tmp_path, capture_output=True, check=True)
    assert quiet.stderr == b""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "60"}
    process = subprocess.Popen(
        [*words, "head", "-n", "1"],  # until we type a line
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    seen, typed = b"", False
    while select.select([ours], [], [], 20)[0]:
        try:
            seen += os.read(ours, 65536)
        except OSError:
            break
        if not typed and len(re.findall(rb"PACT \d+ s", seen)) == 2:
            typed = bool(os.write(ours, b"enough\n"))
    os.close(ours)
    assert process.wait() == 0
    seconds = [int(second) for second in re.findall(rb"PACT (\d+) s", seen)]
    assert seconds == sorted(set(seconds))
    assert seconds[0] >= 1
    assert all(line.count(b"PACT") == 1 for line in seen.split(b"\r\x1b[K")[1:-1])
    assert seen.endswith(b"\r\x1b[K")


def test_ctrl_c_on_a_terminal_reaches_the_command_once(tmp_path):
    script = "trap 'echo int' INT; echo in; for i in 1 2 3 4; do sleep 0.1; done; exit 3"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv(
            sys.executable,
            [sys.executable, "-m", "pactmeter", "run", "-q", "--", "bash", "-c", script],
        )
    seen = b""
    while b"in\r\n" not in seen:
        seen += os.read(terminal, 1024)
    os.write(terminal, b"\x03")
    while True:
        try:
            seen += os.read(terminal, 1024)
        except OSError:
            break
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 3
    assert seen.count(b"int\r\n") == 1


def test_doctor_says_of_every_source_whether_why_and_what_to_do(tmp_path):
    with Machine(tmp_path / "sys") as machine:
        done = pactmeter("doctor", "--json", cwd=tmp_path, env=machine.env)
        assert done.returncode == doctor.MEASURED
        data = json.loads(done.stdout)
        assert data["result"] == "measured"
        assert "cpu.package0" in data["channels"]
        text = pactmeter("doctor", cwd=tmp_path, env=machine.env)
        assert "[ok]" in text.stdout
        assert "fix:" in text.stdout
    bare = pactmeter("doctor", cwd=tmp_path)
    assert bare.returncode in {doctor.ESTIMATES, doctor.NOTHING}  # as this CPU's TDP is known
    assert "NOT" in bare.stdout.splitlines()[-1]
    data = json.loads(pactmeter("doctor", "--json", cwd=tmp_path).stdout)
    result = {doctor.ESTIMATES: "estimates", doctor.NOTHING: "nothing"}[bare.returncode]
    channels = {doctor.ESTIMATES: ["cpu.estimate"], doctor.NOTHING: []}[bare.returncode]
    assert (data["result"], data["channels"]) == (result, channels)
    looked_for = {finding["source"] for finding in data["findings"]}
    assert looked_for >= {"psu", "cpu", "gpu", "hwmon", "battery", "perf", "clock"}


def test_doctor_takes_less_than_a_second_of_cpu(tmp_path):
    spent_s = []
    for _ in range(5):  # its least is its own; what is more is the machine's other load
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = pactmeter("doctor", cwd=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.stdout.splitlines()[-1].startswith("Result: ")
        spent_s.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        if spent_s[-1] < 1.0:
            break
    assert min(spent_s) < 1.0


def test_a_container_is_told_the_options_it_needs(monkeypatch):
    monkeypatch.setenv("container", "lxc")
    assert doctor.in_container() in {"docker", "podman", "lxc"}
    command = doctor.docker_command()
    for option in ("--device /dev/hidraw", "--gpus all", "--cap-add PERFMON", "powercap:ro"):
        assert option in command


def test_sensors_lists_what_can_be_recorded(tmp_path):
    with Machine(tmp_path / "sys") as machine:
        done = pactmeter("sensors", cwd=tmp_path, env=machine.env)
    assert re.search(r"cpu\.package0 +\w+ package J emulated", done.stdout)
    assert re.search(r"hwmon\.acpi_meter\.board +measured .* W emulated", done.stdout)
    bare = pactmeter("sensors", cwd=tmp_path)
    assert bare.returncode == 0
    assert bare.stdout.startswith(("no source of power", "cpu.estimate"))
    assert bare.stdout.count("\n") == 1


@pytest.mark.perf("user")
def test_events_lists_what_opens_and_says_why_others_do_not(tmp_path, sysfs):
    done = pactmeter("events", "fault", cwd=tmp_path)
    assert done.returncode == 0
    assert re.search(r"^FAULTS +software +tree +ok", done.stdout, re.MULTILINE)
    add_pmu(sysfs, "paper", ABSENT_TYPE, **{"events/tiger": "config=0"})
    assert "paper/tiger/" not in pactmeter("events", cwd=tmp_path).stdout
    every = pactmeter("events", "--all", cwd=tmp_path).stdout
    assert every.count("\n") > 40
    assert re.search(r"^paper/tiger/ +paper +tree +missing: .*ENOENT", every, re.MULTILINE)
    none = pactmeter("events", "zzz", cwd=tmp_path)
    assert none.returncode == 1
    assert "rNNN" in none.stdout


def test_setup_shows_its_changes_makes_them_and_takes_them_back(tmp_path, capsys):
    files = [change.path for change in setup.changes()]
    main(["setup", "--print", "--root", str(tmp_path)])
    shown = capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    for path in files:
        assert path in shown
    assert "1c1f" in shown
    main(["setup", "--root", str(tmp_path)])
    assert all((tmp_path / path.lstrip("/")).exists() for path in files)
    rules = (tmp_path / files[0].lstrip("/")).read_text()
    assert 'ATTRS{idVendor}=="7793", ATTRS{idProduct}=="2500"' in rules
    main(["setup", "--undo", "--root", str(tmp_path)])
    assert not any((tmp_path / path.lstrip("/")).exists() for path in files)


def test_setup_without_root_says_sudo():
    code = (
        "import os, sys\n"
        "from pactmeter.cli import main\n"
        "main.main(['setup', '--print'])\n"  # imports what an ordinary user here may not read
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "sys.exit(main.main(['setup']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "sudo pactmeter setup" in done.stderr


def test_the_command_has_the_signals_it_would_have_without_us(tmp_path):
    done = pactmeter("run", "-q", "--", "sh", "-c", "yes | head -1", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "y\n", "")


def test_a_closed_standard_output_is_no_trouble(tmp_path):
    command = [sys.executable, "-m", "pactmeter", "sensors"]
    words = ["sh", "-c", '"$@" >&-', "sh", *command]

    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "ending", ["2>&-", "2>/dev/full", "2>&1 | cat >/dev/null; exit ${PIPESTATUS[0]}"]
)
def test_whatever_becomes_of_standard_error_the_exit_code_is_the_commands(tmp_path, ending):
    line = f"{sys.executable} -m pactmeter run -- sh -c 'exit 7' {ending}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 7
    assert load(tmp_path / "PACT.csv").status == "complete"


def test_started_with_sigchld_ignored_it_still_sees_its_command_end(tmp_path):
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "us = [sys.executable, '-m', 'pactmeter', 'run', '-q', '--', 'false']\n"
        "os.execv(us[0], us)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=20, check=False)
    assert done.returncode == 1


def test_a_command_line_of_any_length_can_be_measured(tmp_path):
    done = pactmeter("run", "-q", "--", "true", *["x" * 100_000] * 12, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_command_that_measures_itself_is_told_who_else_does(tmp_path):
    (tmp_path / "own.py").write_text("from pactmeter import PACT\nPACT(lambda: 1)()\n")
    done = pactmeter("run", "--", sys.executable, "own.py", cwd=tmp_path)
    assert done.returncode == 0
    assert "own.py:2: RuntimeWarning" in done.stderr
    assert "the run that measures this program from outside is writing PACT.csv" in done.stderr
    assert load(tmp_path / "PACT-2.csv").status == "complete"
