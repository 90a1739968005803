"""Stand-ins for ``nvidia-smi`` and ``gpu_burn`` on the emulated machine.

This file is also the program behind both commands. It runs alone, without the package, so that
they start fast: nothing but the standard library is imported here. Their figures come from the
emulated NVML, faults included; ``gpu_burn`` tells the bench to put the GPUs under full load.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    Field = tuple[str, Callable[["Nvml", object], str]]

CONTROL = "PACTMETER_BENCH"
"""Environment variable with the path of the bench's control socket."""
COMMANDS = ("nvidia-smi", "gpu_burn")

_NOT_SUPPORTED, _DRIVER_NOT_LOADED = 3, 9
_FAILED = {_DRIVER_NOT_LOADED: "NVIDIA-SMI has failed", 18: "Failed to initialize NVML"}
_BAD_ARGUMENT, _NO_DEVICE = 2, 19  # ENODEV: gpu_burn ends with it where there is no GPU
_MIB = 1 << 20


def write(folder: Path) -> None:
    """Write the commands into a folder, for PATH."""
    import shlex

    for name in COMMANDS:
        words = shlex.join([sys.executable, "-IS", __file__, name])
        (folder / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (folder / name).chmod(0o755)


class NvmlError(Exception):
    """A call of NVML that failed, with NVML's number and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Nvml:
    """The few calls of NVML that the two commands make. Raises `NvmlError`."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            raise NvmlError(_DRIVER_NOT_LOADED, "Driver Not Loaded") from None
        self._library.nvmlErrorString.restype = ctypes.c_char_p
        self.call("nvmlInit_v2")

    def call(self, name: str, *arguments: object) -> None:
        """Make a call."""
        self._check(getattr(self._library, name)(*arguments))

    def _check(self, code: int) -> None:
        if code:
            raise NvmlError(code, self._library.nvmlErrorString(code).decode())

    def text(self, name: str, *arguments: object) -> str:
        """Return the text that a call gives."""
        buffer = ctypes.create_string_buffer(96)
        self.call(name, *arguments, buffer, len(buffer))
        return buffer.value.decode()

    def number(self, name: str, *arguments: object) -> int:
        """Return the number that a call gives."""
        number = ctypes.c_uint()
        self.call(name, *arguments, ctypes.byref(number))
        return number.value

    def numbers(self, name: str, handle: object, count: int, wide: bool = False) -> list[int]:
        """Return the numbers of the structure that a call fills."""
        kind = ctypes.c_ulonglong if wide else ctypes.c_uint
        found = (kind * count)()
        self.call(name, handle, found)
        return list(found)

    def field(self, handle: object, number: int) -> int:
        """Return an unsigned field."""
        values = (ctypes.c_uint32 * 10)()  # nvmlFieldValue_t: id, ..., 7: result, 8: the value
        values[0] = number
        self.call("nvmlDeviceGetFieldValues", handle, 1, values)
        self._check(values[7])
        return values[8]

    def handles(self) -> list[ctypes.c_void_p]:
        """Return every GPU."""
        found = []
        for index in range(self.number("nvmlDeviceGetCount_v2")):
            handle = ctypes.c_void_p()
            self.call("nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(handle))
            found.append(handle)
        return found


def _bus(nvml: Nvml, handle: object) -> str:
    buffer = ctypes.create_string_buffer(68)
    nvml.call("nvmlDeviceGetPciInfo_v3", handle, buffer)
    return buffer.raw[36:].partition(b"\0")[0].decode()


def _scaled(unit: str, number: int) -> str:
    return f"{number / 1000:.2f}" if unit == "W" else str(number)


def _of(unit: str, name: str, *kind: int) -> Field:
    return unit, lambda nvml, gpu: _scaled(unit, nvml.number(name, gpu, *kind))


def _field(number: int) -> Field:
    return "W", lambda nvml, gpu: _scaled("W", nvml.field(gpu, number))


def _text(name: str) -> Field:
    return "", lambda nvml, gpu: nvml.text(name, gpu)


def _memory(place: int) -> Field:
    name = "nvmlDeviceGetMemoryInfo"
    return "MiB", lambda nvml, gpu: str(nvml.numbers(name, gpu, 3, wide=True)[place] // _MIB)


def _use(place: int) -> Field:
    name = "nvmlDeviceGetUtilizationRates"
    return "%", lambda nvml, gpu: str(nvml.numbers(name, gpu, 2)[place])


def _capability(nvml: Nvml, handle: object) -> str:
    major = ctypes.c_uint()
    minor = nvml.number("nvmlDeviceGetCudaComputeCapability", handle, ctypes.byref(major))
    return f"{major.value}.{minor}"


FIELDS: dict[str, Field] = {
    "timestamp": ("", lambda _, __: time.strftime("%Y/%m/%d %H:%M:%S.000")),
    "driver_version": ("", lambda nvml, _: nvml.text("nvmlSystemGetDriverVersion")),
    "count": ("", lambda nvml, _: str(nvml.number("nvmlDeviceGetCount_v2"))),
    "index": _of("", "nvmlDeviceGetIndex"),
    "name": _text("nvmlDeviceGetName"),
    "uuid": _text("nvmlDeviceGetUUID"),
    "pci.bus_id": ("", _bus),
    "compute_cap": ("", _capability),
    "pstate": ("", lambda nvml, gpu: f"P{nvml.number('nvmlDeviceGetPerformanceState', gpu)}"),
    "fan.speed": _of("%", "nvmlDeviceGetFanSpeed"),
    "temperature.gpu": _of("", "nvmlDeviceGetTemperature", 0),
    "power.draw": _of("W", "nvmlDeviceGetPowerUsage"),
    "power.draw.average": _field(185),
    "power.draw.instant": _field(186),
    "power.limit": _of("W", "nvmlDeviceGetPowerManagementLimit"),
    "power.default_limit": _of("W", "nvmlDeviceGetPowerManagementDefaultLimit"),
    "enforced.power.limit": _of("W", "nvmlDeviceGetEnforcedPowerLimit"),
    "utilization.gpu": _use(0),
    "utilization.memory": _use(1),
    "memory.total": _memory(0),
    "memory.free": _memory(1),
    "memory.used": _memory(2),
    "clocks.sm": _of("MHz", "nvmlDeviceGetClockInfo", 1),
    "clocks.mem": _of("MHz", "nvmlDeviceGetClockInfo", 2),
    "clocks.max.sm": _of("MHz", "nvmlDeviceGetMaxClockInfo", 1),
}
"""What ``--query-gpu`` gives: unit, and the text of one GPU."""
_ALSO = {"gpu_name": "name", "gpu_uuid": "uuid", "clocks.current.sm": "clocks.sm"}


def _say(line: str, end: str = "\n") -> None:
    sys.stdout.write(line + end)
    sys.stdout.flush()


def _value(nvml: Nvml, handle: object, field: str, *, unit: bool = True) -> str:
    suffix, read = FIELDS[_ALSO.get(field, field)]
    try:
        value = read(nvml, handle)
    except NvmlError as error:
        return "[N/A]" if error.code == _NOT_SUPPORTED else f"[{error}]"
    return f"{value} {suffix}" if unit and suffix else value


def _query(nvml: Nvml, gpus: Sequence[object], fields: Sequence[str], style: set[str]) -> None:
    if "noheader" not in style:
        units = {field: FIELDS[_ALSO.get(field, field)][0] for field in fields}
        _say(", ".join(f"{field} [{unit}]" if unit else field for field, unit in units.items()))
    for gpu in gpus:
        _say(", ".join(_value(nvml, gpu, field, unit="nounits" not in style) for field in fields))


def _list(nvml: Nvml, gpus: Iterable[object]) -> None:
    for gpu in gpus:
        index, name, uuid = (_value(nvml, gpu, field) for field in ("index", "name", "uuid"))
        _say(f"GPU {index}: {name} (UUID: {uuid})")


def _table(nvml: Nvml, gpus: Iterable[object]) -> None:
    rule = f"+{'-' * 41}+{'-' * 24}+{'-' * 22}+"

    def row(left: str, right: str, middle: str, last: str) -> None:
        _say(f"| {left}{right:>{39 - len(left)}} | {middle:>22} | {last:>20} |")

    _say(f"{time.ctime()}\n+{'-' * 89}+")
    _say(
        f"| NVIDIA-SMI {nvml.text('nvmlSystemGetDriverVersion'):<55} CUDA Version: 12.6   |\n{rule}"
    )
    row("GPU  Name", "", "Bus-Id", "")
    row("Fan  Temp   Perf", "Pwr:Usage/Cap", "Memory-Usage", "GPU-Util")
    _say(rule.replace("-", "="))
    for gpu in gpus:
        value = {field: _value(nvml, gpu, field, unit=False) for field in FIELDS}
        fan = value["fan.speed"].strip("[]")
        row(f"{value['index']:>3}  {value['name']}", "", value["pci.bus_id"], "")
        row(
            f"{fan:>3}  {value['temperature.gpu']:>3}C    {value['pstate']}",
            f"{value['power.draw']}W / {value['power.limit']}W",
            f"{value['memory.used']}MiB / {value['memory.total']}MiB",
            f"{value['utilization.gpu']}%",
        )
        _say(rule)


_SHORT = {"h": "help", "L": "list-gpus", "i": "id", "l": "loop", "lms": "loop-ms"}
_BARE = ("help", "list-gpus")
_WITH_VALUE = ("id", "query-gpu", "format", "loop", "loop-ms")


def _options(words: Iterator[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        name, equals, value = word.partition("=")
        name = _SHORT.get(name.lstrip("-"), name.lstrip("-"))
        if name in _BARE:
            yield name, ""
        elif name in _WITH_VALUE:
            yield name, value if equals else next(words, "")
        else:
            yield "unknown", word


def nvidia_smi(arguments: Sequence[str]) -> int:
    """Run ``nvidia-smi`` and return its exit code."""
    options = dict(_options(iter(arguments)))
    if "help" in options:
        _say(
            "NVIDIA System Management Interface -- emulated by pactmeter-bench\n\n"
            "nvidia-smi [-L] [-i ID] [-l SEC] [--query-gpu=FIELDS --format=csv,noheader]"
        )
        return 0
    if "unknown" in options:
        _say(f"ERROR: Option {options['unknown']} is not recognized. Please run 'nvidia-smi -h'.")
        return _BAD_ARGUMENT
    fields = [field.strip() for field in options.get("query-gpu", "").split(",") if field]
    for field in fields:
        if _ALSO.get(field, field) not in FIELDS:
            _say(f'Field "{field}" is not a valid field to query.\n')
            return _BAD_ARGUMENT
    try:
        return _show(Nvml(), options, fields)
    except ValueError:
        _say("ERROR: The interval of a loop is a number that is not below 0.")
        return _BAD_ARGUMENT
    except NvmlError as error:
        _say(f"{_FAILED.get(error.code, 'Unable to determine the device handle for GPU')}: {error}")
        return min(255, error.code)


def _show(nvml: Nvml, options: dict[str, str], fields: Sequence[str]) -> int:
    gpus = nvml.handles()
    if "id" in options:
        known = {_value(nvml, gpu, key): gpu for gpu in gpus for key in ("index", "uuid")}
        wanted = options["id"].split(",")
        if not known.keys() >= set(wanted):
            _say("No devices were found")
            return 6
        gpus = [known[name] for name in wanted]
    style = {word.strip() for word in options.get("format", "").split(",")}
    period_s = float(options.get("loop-ms", 0)) / 1000 or float(options.get("loop", 0))
    while True:
        if "list-gpus" in options:
            _list(nvml, gpus)
        elif fields:
            _query(nvml, gpus, fields, style)
            style.add("noheader")
        else:
            _table(nvml, gpus)
        if not period_s:
            return 0
        time.sleep(period_s)


class Load:
    """The GPUs' load, as the bench is told it."""

    def __init__(self, gpus: Sequence[int]) -> None:
        self._gpus = gpus

    def set(self, spec: str) -> None:
        """Give the GPUs a load; where no bench listens, nothing happens."""
        path = os.environ.get(CONTROL, "")
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.settimeout(1.0)
            for gpu in self._gpus:
                message = {"load": {"component": f"gpu{gpu}", "spec": spec}}
                link.sendto(json.dumps(message).encode(), path)

    def end_with(self, number: int, _frame: object) -> None:
        """Let go of the GPUs, and end as the signal would have ended the program."""
        self.set("idle")
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def gpu_burn(arguments: Sequence[str]) -> int:
    """Run ``gpu_burn`` and return its exit code."""
    given = {"-c": "compare.fatbin", "-stts": "30", "-i": "", "-m": "90%", "time": "10"}
    words = iter(arguments)
    for word in words:
        if word in given:
            given[word] = next(words, "")
        elif word.isdigit():
            given["time"] = word
    if "-h" in arguments:
        _say("GPU Burn\nUsage: gpu-burn [OPTIONS] [TIME]")
        return 0
    try:
        nvml = Nvml()
        handles = nvml.handles()
        gpus = list(range(len(handles)))
        if given["-i"]:
            gpus = [gpus[int(given["-i"])]]
    except (NvmlError, IndexError, ValueError) as error:
        sys.stderr.write(f"Couldn't init CUDA: {error}\nNo CUDA devices\n")
        return _NO_DEVICE
    if "-l" in arguments:
        _list(nvml, handles)
        return 0
    _say(f"Using compare file: {given['-c']}\nBurning for {given['time']} seconds.")
    _list(nvml, handles)
    for gpu in gpus:
        total, free, _ = nvml.numbers("nvmlDeviceGetMemoryInfo", handles[gpu], 3, wide=True)
        _say(
            f"Initialized device {gpu} with {total // _MIB} MB of memory ({free // _MIB} MB "
            f"available, using {free * 9 // 10 // _MIB} MB of it), using "
            f"{'DOUBLES' if '-d' in arguments else 'FLOATS'}"
        )
    load = Load(gpus)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, load.end_with)
    load.set("busy")
    _burn(nvml, [handles[gpu] for gpu in gpus], float(given["time"]))
    load.set("idle")
    _say("\nKilling processes with SIGTERM (soft kill)")
    time.sleep(float(given["-stts"]))
    _say(f"done\n\nTested {len(gpus)} GPUs:")
    for gpu in range(len(gpus)):
        _say(f"\tGPU {gpu}: OK")
    return 0


def _burn(nvml: Nvml, handles: Sequence[object], length_s: float) -> None:
    start_s = time.monotonic()
    tenth = 1
    while True:
        spent_s = time.monotonic() - start_s
        share = min(1.0, spent_s / length_s) if length_s else 1.0
        temperatures = [_value(nvml, handle, "temperature.gpu") for handle in handles]
        done = f"{int(spent_s * 100)} (15000 Gflop/s) "
        heat = [f"{'--' if text.startswith('[') else text + ' C'} " for text in temperatures]
        _say(
            f"\r{100 * share:.1f}%  proc'd: {'- '.join([done] * len(heat))}"
            f"  errors: {'- '.join(['0 '] * len(heat))}  temps: {'- '.join(heat)}",
            end="",
        )
        if share * 10 > tenth:
            tenth = int(share * 10) + 1
            _say(f"\n\tSummary at:   {time.ctime()}\n")
        if share == 1.0:
            return
        time.sleep(min(0.5, max(0.0, start_s + length_s - time.monotonic())))


def main(arguments: Sequence[str]) -> int:
    """Run one of the commands, the first word, and return its exit code."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    run = {"nvidia-smi": nvidia_smi, "gpu_burn": gpu_burn}[arguments[0]]
    return run(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
