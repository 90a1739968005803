"""A tiny real training with each framework, and a real IPython session.

They live in an environment of their own, ``.venv/frameworks``, made from ``frameworks.txt`` beside
this file; `PACTMETER_FRAMEWORKS` names the Python of another one.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from pactmeter.cli.main import main
from support.programs import SRC, Finished, program_file
from support.rights import refuse

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("PACTMETER_FRAMEWORKS", ROOT / ".venv/frameworks/bin/python"))
CLOCKS_US = 1000.0
"""How far the two clocks may be apart: both are the system's."""

HUGGING_FACE = """
import torch
from transformers import Trainer, TrainingArguments
from pactmeter.integrations.huggingface import PactCallback

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(4, 1)

    def forward(self, x, labels):
        if FAIL and x.sum() < -100:
            raise RuntimeError("bad batch")
        return {"loss": ((self.line(x)[:, 0] - labels) ** 2).mean()}

def train(callback):
    data = [{"x": torch.ones(4), "labels": 1.0} for _ in range(12)]
    if FAIL:
        data[-1]["x"] = torch.full((4,), -1000.0)
    args = TrainingArguments(
        output_dir="out", num_train_epochs=2, per_device_train_batch_size=2,
        gradient_accumulation_steps=2, use_cpu=True, report_to=[], save_strategy="no",
        disable_tqdm=True, remove_unused_columns=False,
    )
    Trainer(Model(), args, train_dataset=data, callbacks=[callback]).train()
"""
PROFILED = """
import torch
from torch.profiler import ProfilerActivity, profile
from pactmeter import PACT, region

@PACT(measure_period=0.2)
def train():
    torch.ones(2) @ torch.ones(2)
    with profile(activities=[ProfilerActivity.CPU]) as profiler, region("step", 0):
        x = torch.ones(300, 300)
        for _ in range(50):
            x = torch.tanh(x @ x)
    return profiler

train().export_chrome_trace("profile.json")
"""
LIGHTNING = """
import torch
from lightning.pytorch import LightningModule, Trainer
from pactmeter.integrations.lightning import PactCallback

class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(4, 1)

    def training_step(self, batch, number):
        if FAIL and number == 2:
            raise RuntimeError("bad batch")
        return self.line(batch).mean()

    def validation_step(self, batch, number):
        self.line(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

def fit(callback):
    data = torch.utils.data.DataLoader(torch.ones(6, 4), batch_size=2)
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, callbacks=[callback],
    )
    trainer.fit(Model(), data, data)
"""


@pytest.fixture
def train(tmp_path, gauge):
    """Run a program with the frameworks' Python."""
    if not PYTHON.is_file():
        refuse(f"there is no {PYTHON}: make .venv/frameworks.stamp, or set PACTMETER_FRAMEWORKS")

    def run(code):
        words = [PYTHON, program_file(code, tmp_path)]
        environment = {**os.environ, "PYTHONPATH": str(SRC)}
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        return Finished(done.returncode, done.stdout, done.stderr, tmp_path)

    return run


def marks(finished):
    """Return the indices of the regions by name, in the order of their starts."""
    lines = finished.settled().files.regions.read_text().splitlines()[1:]
    found = {}
    for line in sorted(lines, key=lambda line: float(line.split(",")[0])):
        name, index = line.split(",")[2:4]
        found.setdefault(name, []).append(int(index) if index else None)
    return found


def test_a_hugging_face_trainer_has_its_epochs_and_steps(train):
    done = train("FAIL = False\n" + HUGGING_FACE + "train(PactCallback())")

    assert done.code == 0, done.err
    assert done.settled().status == "complete"
    assert marks(done) == {"call": [0], "epoch": [0, 1], "step": list(range(6))}


def test_a_hugging_face_trainer_that_fails_is_closed(train):
    code = """
import time
try:
    with PactCallback() as energy:
        train(energy)
except RuntimeError as error:
    print(error)
time.sleep(2)
"""
    done = train("FAIL = True\n" + HUGGING_FACE + code)

    assert done.code == 0, done.err
    assert "bad batch" in done.out
    assert done.settled().duration_s < 2.0
    assert marks(done)["epoch"] == [0]


def test_a_lightning_trainer_has_its_epochs_steps_and_validations(train):
    done = train("FAIL = False\n" + LIGHTNING + "fit(PactCallback())")

    assert done.code == 0, done.err
    assert marks(done) == {
        "call": [0],
        "epoch": [0, 1],
        "step": list(range(6)),
        "validation": [None, 0, 1],
    }


def test_a_lightning_trainer_that_fails_is_closed(train):
    code = """
import time
try:
    fit(PactCallback())
except RuntimeError as error:
    print(error)
time.sleep(2)
"""
    done = train("FAIL = True\n" + LIGHTNING + code)

    assert done.code == 0, done.err
    assert "bad batch" in done.out
    assert done.settled().duration_s < 2.0
    assert marks(done)["step"] == [0, 1, 2]


def test_an_ipython_shell_measures_cells(train):
    code = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell()
shell.run_cell("%load_ext pactmeter.integrations.notebook", store_history=True)
good = shell.run_cell("%%pactmeter measure_period=0.5\\nx = 6\\nx * 7", store_history=True)
print("VALUE", good.result, shell.user_ns["x"])
bad = shell.run_cell("%%pactmeter\\nimport math\\n1 / 0", store_history=True)
print("RAISED", type(bad.error_in_exec).__name__)
wrong = shell.run_cell("%%pactmeter mesure_period=1\\ny = 1", store_history=True)
print("RAISED", type(wrong.error_in_exec).__name__, "y" in shell.user_ns)
shell.run_cell("%%pactmeter\\n!echo shell", store_history=True)
"""
    done = train(code)

    assert done.code == 0, done.err
    assert done.out.count("PACT run  complete, 1 call") == 3
    assert "VALUE 42 6" in done.out
    assert "RAISED ZeroDivisionError" in done.out
    assert "1 / 0" in done.out
    assert "RAISED ConfigError False" in done.out
    assert "shell" in done.out.splitlines()


def test_a_profile_of_torch_stands_at_its_time_beside_power_and_regions(train, tmp_path):
    done = train(PROFILED)
    assert done.code == 0, done.err
    done.settled()

    words = ["--to", "trace", "--merge", tmp_path / "profile.json", "-o", tmp_path / "o.json"]
    assert main(["export", *map(str, [tmp_path / "PACT.csv", *words])]) == 0

    events = json.loads((tmp_path / "o.json").read_text())["traceEvents"]
    (step,) = [event for event in events if event.get("name") == "step 0"]
    products = [event for event in events if event.get("name") == "aten::mm"]
    assert len(products) == 50
    assert all(step["ts"] - CLOCKS_US <= event["ts"] for event in products)
    end_us = step["ts"] + step["dur"] + CLOCKS_US
    assert all(event["ts"] + event["dur"] <= end_us for event in products)
    assert {event["pid"] for event in products}.isdisjoint({step["pid"]})
    assert any(event["ph"] == "C" and event["name"].startswith("hwmon") for event in events)
