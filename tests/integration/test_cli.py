"""The command line, as a stranger would type it."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from pactmeter.analysis.run import load
from pactmeter.cli import doctor, setup
from pactmeter.cli.main import COMMANDS, main
from support.machine import Machine


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


def test_the_command_is_counted_and_we_are_not(tmp_path):
    code = (
        "import mmap, resource\n"
        "m = mmap.mmap(-1, 200_000_000)\n"
        "for i in range(0, 200_000_000, 4096): m[i] = 1\n"
        "r = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(r.ru_minflt + r.ru_majflt)\n"
    )
    done = pactmeter("run", "-e", "FAULTS", "--", sys.executable, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    faults = sum(v for v in load(tmp_path / "PACT.csv").columns["faults"] if v is not None)
    # after the program's last look at itself come the faults of its end
    assert faults == pytest.approx(int(done.stdout), rel=0.01)


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
        assert source["energy_j"] == pytest.approx(120.0, rel=0.1)
    counters = data["counters"]
    assert list(counters) == ["migrations", "faults", "cache-misses", "cycles"]
    assert set(counters["faults"]) == {"total", "scope", "status", "reason", "running_share"}
    assert counters["faults"]["total"] > 50
    assert data["verdict"]["level"] in {"1%", "2%", "5%", "none"}
    for check in data["verdict"]["checks"]:
        assert set(check) == {"id", "outcome", "figure", "text"}
        assert check["outcome"] in {"pass", "warn", "fail"}
    assert set(data["sampler"]) == {"cpu_s", "late_rows", "rows"}
    assert data["sampler"]["rows"] == 2


def test_carbon_is_told_only_with_a_region_or_an_intensity_that_was_named(tmp_path):
    with Machine(tmp_path / "sys") as machine:
        (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").chmod(0o444)
        pactmeter("run", "-q", "--", "sleep", "0.3", cwd=tmp_path, env=machine.env)
    plain = pactmeter("report", "PACT.csv", cwd=tmp_path)
    assert "gCO2e" not in plain.stdout
    both = pactmeter(
        "report", "PACT.csv", "--region", "DE", "--carbon-intensity", "100", cwd=tmp_path
    )
    assert both.returncode == 2
    wrong = pactmeter("report", "PACT.csv", "--region", "Germny", cwd=tmp_path)
    assert "Germany" in wrong.stderr
    assert pactmeter("report", "PACT.csv", "--region", "DE", cwd=tmp_path).returncode == 0


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
    words = [sys.executable, "-m", "pactmeter", "run", "-q", "--", "sleep", "2.3"]
    quiet = subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    assert quiet.stderr == b""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "60"}
    process = subprocess.Popen(
        words, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    seen = b""
    end = time.monotonic() + 20
    while time.monotonic() < end and select.select([ours], [], [], 20)[0]:
        try:
            chunk = os.read(ours, 65536)
        except OSError:
            break
        seen += chunk
    os.close(ours)
    assert process.wait() == 0
    assert len(re.findall(rb"PACT \d+ s", seen)) == 2
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
    (tmp_path / "empty").mkdir()
    bare = pactmeter("doctor", cwd=tmp_path, env={"PACTMETER_SYSFS": str(tmp_path / "empty")})
    assert bare.returncode in {doctor.ESTIMATES, doctor.NOTHING}
    assert "NOT" in bare.stdout.splitlines()[-1]


def test_doctor_takes_less_than_a_second_of_cpu(tmp_path):
    before = os.times()
    pactmeter("doctor", cwd=tmp_path)
    after = os.times()
    spent = after.children_user + after.children_system
    assert spent - before.children_user - before.children_system < 1.0


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
    (tmp_path / "empty").mkdir()
    bare = pactmeter("sensors", cwd=tmp_path, env={"PACTMETER_SYSFS": str(tmp_path / "empty")})
    assert bare.returncode == 0


def test_events_lists_what_opens_and_says_why_others_do_not(tmp_path):
    done = pactmeter("events", "fault", cwd=tmp_path)
    assert done.returncode == 0
    assert "ok" in done.stdout
    assert pactmeter("events", "--all", cwd=tmp_path).stdout.count("\n") > 40
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
        "os.setuid(65534)\n"
        "sys.exit(main.main(['setup']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "sudo pactmeter setup" in done.stderr
