"""An emulated machine for one command, as small as it can be: what `mounts` is tested with.

Run as a program: ``stage.py SPEC command...``, where SPEC is JSON. The command may order faults at
the datagram socket ``/dev/pactmeter/control``: ``psu0:unplug``, or ``clear psu0``.
"""

import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

from pactmeter.bench import cpuinfo, mounts
from pactmeter.bench.corsair import CorsairFirmware
from pactmeter.bench.faults import FaultBoard, parse
from pactmeter.bench.fuse import FuseServer
from pactmeter.bench.hidbus import HidBus
from pactmeter.bench.hidraw import HidIdentity, HidrawNode
from pactmeter.bench.hwmon import CorsairDriver
from pactmeter.bench.loop import Loop
from pactmeter.bench.machine import Machine, parse_psu
from pactmeter.bench.nzxt import NzxtFirmware
from pactmeter.bench.rapl import Powercap, make_zones
from pactmeter.bench.sysfs import add_frame
from pactmeter.bench.topology import topology
from pactmeter.bench.tree import Tree
from pactmeter.bench.usb import HidUnit, port
from pactmeter.errors import DeviceError
from pactmeter.model.psu import Protocol
from support.rights import refuse

CONTROL = mounts.RUN / "control"
PATHS = [str(Path(__file__).parents[2] / "src"), str(Path(__file__).parents[1])]
PATIENCE_S = 30.0
UNABLE = 77
"""Exit code where no machine can be emulated."""

CLIENT = """
import json, os, socket, sys, types
from pathlib import Path
sys.modules.setdefault("smbus", types.ModuleType("smbus")).SMBus = object  # liquidctl wants it

def order(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as here:
        here.bind(f"/dev/pactmeter/client{os.getpid()}")
        here.sendto(text.encode(), "/dev/pactmeter/control")
        answer = here.recv(4096).decode()
    os.unlink(f"/dev/pactmeter/client{os.getpid()}")
    assert answer == "done", answer

def say(value):
    print(json.dumps(value, default=str), flush=True)
"""
"""What client programs begin with."""


def words(code, **spec):
    """Return the command line that runs a client's code on an emulated machine."""
    program = CLIENT + textwrap.dedent(code)
    return [sys.executable, __file__, json.dumps(spec), sys.executable, "-c", program]


def environment():
    """Return the environment for it: no setting that turns clients away from /sys."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PACTMETER_")}
    return kept | {"PYTHONPATH": os.pathsep.join(PATHS)} | mounts.ENVIRONMENT


def played(code, **spec):
    """Run a client's code on an emulated machine; return what it said, one value a line."""
    done = subprocess.run(
        words(code, **spec),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode == UNABLE:
        refuse(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def playing(code, **spec):
    """Run a client's code meanwhile; give the process once the client has said a first line."""
    process = subprocess.Popen(
        words(code, **spec),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        process.said = process.stdout.readline()
        if not process.said and process.wait(PATIENCE_S) == UNABLE:
            refuse("needs FUSE in a mount namespace")
        yield process
    finally:
        process.kill()
        process.communicate()


def serve(fd, command, spec):
    """Be the server until the command ends."""
    zero_s = time.monotonic()
    loop = Loop(lambda: time.monotonic() - zero_s)
    faults = FaultBoard(loop.clock)
    tree = Tree()
    add_frame(tree)
    zones = topology(spec.get("rapl", "1x"))
    specs = sorted(map(parse_psu, spec.get("psus", [])), key=lambda one: one.order)
    machine = Machine(specs, packages=zones.packages, load="steady:100")
    bus = HidBus(tree, faults, Path("/dev"))
    for supply, asked in zip(machine.supplies, specs, strict=True):
        add_supply(bus, supply, loop, faults, bound=asked.hwmon)
    powercap = Powercap(tree, make_zones(zones, machine.sources, faults, loop.clock))
    cpus = os.cpu_count() or 1
    tree.add_text("proc/cpuinfo", cpuinfo.text(zones.vendor, cpus, zones.sockets))
    control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    control.bind(str(CONTROL))

    def obey():
        data, client = control.recvfrom(4096)
        verb, _, name = data.decode().partition(" ")
        if verb == "clear":
            faults.clear(name)
        else:
            devices = ["psu0", "psu1", "rapl", *machine.sources]
            faults.add(parse(verb, devices, loop.clock()))
        bus.update()
        powercap.update()
        control.sendto(b"done", client)

    FuseServer(fd, tree, loop)
    loop.add_reader(control.fileno(), obey)
    loop.add_reader(command, loop.stop)
    loop.run_forever()


def add_supply(bus, supply, loop, faults, *, bound):
    """Plug in one supply."""
    model = supply.model
    kind = CorsairFirmware if model.protocol is Protocol.CORSAIR else NzxtFirmware
    firmware = kind(supply, faults, loop.clock)
    phys = port(supply.name)
    unit = HidUnit(supply.name, model.vid, model.pid, model.name, supply.serial, phys, bound)

    def make_node():
        firmware.reset()
        identity = HidIdentity(unit.vid, unit.pid, unit.name, unit.phys, unit.serial)
        return HidrawNode(firmware, loop, identity, faults)

    driver = CorsairDriver(firmware, faults, loop.clock)
    bus.add(unit, make_node, driver.probe if bound else None)


def main(text, *command):
    """Set the stage, and become the command."""
    spec = json.loads(text)
    try:
        run = mounts.enter_namespace()
        fd = mounts.mount_tree(run)
    except DeviceError as error:
        print(error, file=sys.stderr)
        sys.exit(UNABLE)
    # Not PR_SET_PDEATHSIG: that signal does not come from a parent that has become another user.
    command_end = os.pidfd_open(os.getpid())
    if os.fork() == 0:
        try:
            serve(fd, command_end, spec)
        finally:
            os._exit(1)
    os.close(fd)  # when the server ends, who waits for it shall know
    mounts.show_sys(run, spec.get("hidden", mounts.HIDDEN))
    mounts.show_proc(run)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
