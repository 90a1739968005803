"""One load under PACT: it runs for so many seconds, and what it did is told.

python stress/load.py cpu --workers 25 --seconds 200 --tool stress-ng
python stress/load.py gpu --seconds 200 --gpu-burn ~/gpu-burn/gpu_burn
python stress/load.py command --tracker-file PACT.csv -- stress --cpu 2 --io 1 --timeout 60
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pactmeter import PACT
from pactmeter.errors import DeviceError, FileError, PactError
from pactmeter.study import child, script, stress_loads, stress_output, stress_preflight, work

BURN = Path(__file__).with_name("burn.py")
KEPT = 1 << 20
"""Bytes of a tool's log that are read; of a longer one, the end."""


def arguments(words=None):
    """Return what was asked for."""
    parser = script.options(__doc__.splitlines()[0])
    parser.usage = "%(prog)s KIND [options] [-- command ...]"
    add = parser.add_argument
    add("kind", choices=("idle", *stress_loads.KINDS, "gpu", "command"), metavar="KIND",
        help="idle, cpu, io, vm, hdd, gpu, or a command of your own behind --")  # fmt: skip
    add("--workers", type=int, default=1, metavar="N", help="processes side by side (1)")
    add("--seconds", type=float, default=200.0, metavar="S", help="how long (200)")
    add("--tool", choices=stress_loads.TOOLS, default="stress", help="(stress)")
    add("--vm-bytes", type=size, default=stress_loads.VM_BYTES, metavar="B",
        help="memory of each vm worker, as 64M (256M)")  # fmt: skip
    add("--hdd-bytes", type=size, default=stress_loads.HDD_BYTES, metavar="B",
        help="file of each hdd worker (1G)")  # fmt: skip
    add("--temp-path", type=Path, default=Path(), metavar="DIR", help="where hdd writes (here)")
    add("--gpu-burn", type=Path, metavar="FILE", help="your gpu_burn (else as found, else torch)")
    add("--device", choices=("cuda", "cpu"), default="cuda", help="for torch (cuda)")
    add("--dtype", default="fp32", help="for torch: fp32, tf32, fp16, bf16 (fp32)")
    add(
        "--limit",
        type=script.positive,
        metavar="S",
        help="end it after this long (1.5 times S, and 60 s)",
    )
    words = list(sys.argv[1:] if words is None else words)
    end = words.index("--") if "--" in words else len(words)
    args = parser.parse_args(words[:end])
    args.words = words[end + 1 :]
    if (args.kind == "command") != bool(args.words):
        parser.error("KIND command and a command behind -- belong together")
    if not 0 < args.seconds < 1e9:
        parser.error(f"--seconds {args.seconds:g} is no time")
    return args


def size(text):
    """Return the bytes of a size."""
    count = stress_loads.size(text)
    if not count:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 64M")
    return count


def chosen(args):
    """Return the tool, what it says of its version, its command and the folder it runs in."""
    if args.kind in stress_loads.KINDS:
        load = stress_loads.Load(
            args.kind, args.workers, args.seconds, args.vm_bytes, args.hdd_bytes
        )
        words = load.command(args.tool)
    elif args.kind == "command":
        words = args.words
    else:
        words = gpu_command(args)
    tool = "torch" if str(BURN) in words else stress_loads.tool_of(words)
    if not os.access(args.temp_path, os.W_OK | os.X_OK):
        raise FileError(f"{args.temp_path} is no folder to write to", "--temp-path DIR")
    if tool == "torch":
        return tool, version([*words, "--check"]), words, None
    program = Path(stress_loads.require(words[0])).resolve()
    if tool == "gpu-burn":  # its compare kernel lies beside it
        if "-stts" not in words:  # else it sleeps for 30 s at its end
            words = [words[0], "-stts", "1", *words[1:]]
        return tool, tool, [str(program), *words[1:]], program.parent
    if tool in stress_loads.TOOLS:
        stress_preflight.check(words, args.temp_path)
        return tool, version([program, "--version"]), words, None
    return tool, program.name, words, Path.cwd()


def gpu_command(args):
    """Return the command that loads the GPUs: gpu-burn's where there is one, else torch's."""
    seconds = f"{args.seconds:.0f}"
    if args.gpu_burn is not None:
        if not args.gpu_burn.is_file():
            raise PactError(
                f"{args.gpu_burn} is not there",
                "build https://github.com/wilicc/gpu-burn, or leave --gpu-burn out: torch burns",
            )
        return [str(args.gpu_burn.resolve()), seconds]
    if args.device == "cuda":
        for name in ("gpu_burn", "gpu-burn"):
            try:
                return [stress_loads.require(name), seconds]
            except PactError:
                continue
    return [
        *(sys.executable, str(BURN), f"{args.seconds:g}"),
        *("--device", args.device, "--dtype", args.dtype),
    ]


def version(words):
    """Return what a tool calls itself, without the details of its making."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        message, _, fix = done.stderr.strip().partition("\n  fix: ")
        raise DeviceError(message or f"{words[0]} does not run", fix or None)
    return done.stdout.strip().partition(" (")[0].replace(", version", "")


def measured(args, run):
    """Run a load, measured."""

    @PACT(
        measure_period=args.measure_period,
        perf_measure_period=min(args.perf_period, args.measure_period),
        events_groups=args.events,
        tracker_file_name=args.tracker_file,
        PSU=args.psu,
    )
    def load():
        return run()

    return script.chosen(load, args)()


def idle(args):
    """Do nothing for a while."""
    measured(args, lambda: time.sleep(args.seconds))
    work.report(seconds=args.seconds, load="idle")


def worked(words, folder, log, limit_s):
    """Run a tool in its time."""
    ended = child.run(words, log, folder=folder, limit_s=limit_s)
    if ended.timed_out:
        raise PactError(f"{words[0]} did not end within {limit_s:g} s and was ended")
    return ended


def loaded(args):
    """Run a tool and tell what it did."""
    tool, called, words, folder = chosen(args)
    duration = stress_loads.duration_s(words) if tool != "torch" else args.seconds
    usual = 7 * 86_400 if duration is None else 1.5 * duration + 60
    if words[:1] and stress_loads.workers(words, "hdd"):
        on = stress_preflight.file_system(args.temp_path)
        if on in {"tmpfs", "ramfs"}:
            print(f"load: {args.temp_path.resolve()} is {on}: hdd loads memory, no disk",
                  file=sys.stderr)  # fmt: skip
    with (
        tempfile.TemporaryDirectory(prefix=".stress-", dir=args.temp_path) as made,
        tempfile.TemporaryFile() as log,
    ):
        scratch = Path(made).resolve()
        yaml = scratch / "metrics.yaml"
        if tool == "stress-ng":
            words = [*words, "--temp-path", str(scratch), "--metrics-brief", "--yaml", str(yaml)]
            words += ["--keep-name"]  # else its workers wipe the environment they are known by
        limit_s = args.limit or usual
        try:
            ended = measured(args, lambda: worked(words, folder or scratch, log, limit_s))
        finally:
            log.seek(max(0, log.seek(0, 2) - KEPT))
            text = log.read().decode(errors="replace")
            print(text, end="" if text.endswith("\n") else "\n", flush=True)
        told = yaml.read_text() if yaml.exists() else None
        done = stress_output.work(tool, text, told, ended, duration)
    workers = {kind: stress_loads.workers(words, kind) for kind in stress_loads.KINDS}
    if total := sum(workers.values()):
        done["workers"] = total
    kinds = "+".join(kind for kind, count in workers.items() if count)
    work.report(**done, load=kinds or ("gpu" if "gflop" in done else args.kind), tool=called)


def main(words=None):
    """Run the load that was asked for; return the exit code."""
    args = arguments(words)
    try:
        with child.ended_by_signals():
            idle(args) if args.kind == "idle" else loaded(args)
    except PactError as error:
        print(f"load: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
