"""Import PACT under an audit hook; print what it did as JSON."""

import json
import os
import sys

SEEN = {"sockets": [], "devices": [], "processes": [], "threads": []}
PROCESSES = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system")
PATHS = ("open", "os.listdir", "os.scandir", "os.open")
HEAVY = (
    "numpy",
    "pandas",
    "matplotlib",
    "scipy",
    "sklearn",
    "torch",
    "rich",
    "pynvml",
    "liquidctl",
)


def hook(event, arguments):
    if event.startswith("socket."):
        SEEN["sockets"].append(event)
    elif event in PROCESSES:
        SEEN["processes"].append(event)
    elif event in ("_thread.start_new_thread", "_thread.start_joinable_thread"):
        SEEN["threads"].append(event)
    elif event in PATHS and arguments and isinstance(arguments[0], str | bytes):
        path = os.path.normpath(os.fsdecode(arguments[0]))
        if path.startswith(("/dev/", "/sys/")):
            SEEN["devices"].append(f"{event} {path}")


before = set(sys.modules)
sys.addaudithook(hook)
from trackerPACT import PACT  # noqa: E402, F401

result = {name: list(found) for name, found in SEEN.items()}
result["heavy"] = [name for name in HEAVY if name in sys.modules]
result["modules"] = len(set(sys.modules) - before)
print(json.dumps(result))
