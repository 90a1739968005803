"""The training callbacks, driven in the order of events that their frameworks document.

The frameworks are not among the tools of development: here modules stand in for them that hold the
base class and nothing else, and a loop calls what a trainer would. `test_integrations_frameworks`
trains with the real ones, where they are.
"""

import json

import pytest

from pactmeter.errors import ConfigError
from pactmeter.integrations.training import Training
from pactmeter.session.regions import region

HUGGING_FACE = """
import sys, types
transformers = types.ModuleType("transformers")
class TrainerCallback: pass
transformers.TrainerCallback = TrainerCallback
sys.modules["transformers"] = transformers

from types import SimpleNamespace
from pactmeter.integrations.huggingface import PactCallback

def train(callback, epochs=2, steps=3, fail_at=None, state=None):
    state = state or SimpleNamespace(epoch=0, global_step=0)
    tell = lambda event: getattr(callback, event)(None, state, None, model=None)
    tell("on_train_begin")
    for epoch in range(int(state.epoch), epochs):
        tell("on_epoch_begin")
        for step in range(steps):
            tell("on_step_begin")
            if fail_at == (epoch, step):
                raise RuntimeError("out of memory")
            state.global_step += 1
            state.epoch = epoch + (step + 1) / steps
            tell("on_step_end")
        tell("on_epoch_end")
    tell("on_train_end")
"""
LIGHTNING = """
import sys, types
for name in ("lightning", "lightning.pytorch", "lightning.pytorch.callbacks"):
    sys.modules[name] = types.ModuleType(name)
class Callback: pass
sys.modules["lightning.pytorch.callbacks"].Callback = Callback

from types import SimpleNamespace
from pactmeter.integrations.lightning import PactCallback

def fit(callback, epochs=2, steps=3, fail_at=None):
    trainer = SimpleNamespace(current_epoch=0, sanity_checking=True)
    tell = lambda hook, *more: getattr(callback, hook)(trainer, None, *more)
    try:
        tell("on_fit_start")
        tell("on_validation_start")
        tell("on_validation_end")
        trainer.sanity_checking = False
        for trainer.current_epoch in range(epochs):
            tell("on_train_epoch_start")
            for step in range(steps):
                tell("on_train_batch_start", None, step)
                if fail_at == (trainer.current_epoch, step):
                    raise RuntimeError("out of memory")
                tell("on_train_batch_end", None, None, step)
            tell("on_validation_start")
            tell("on_validation_end")
            tell("on_train_epoch_end")
        tell("on_fit_end")
    except BaseException as error:
        tell("on_exception", error)
        raise
"""


def marks(finished, name="PACT.csv"):
    """Return the regions of a run by name, with their indices in the order of their starts."""
    files = finished.settled(name).files
    rows = [line.split(",") for line in files.regions.read_text().splitlines()[1:]]
    found = {}
    for start, end, name, index, _ in sorted(rows, key=lambda row: float(row[0])):
        assert float(start) <= float(end)
        found.setdefault(name, []).append(int(index) if index else None)
    return found


@pytest.mark.usefixtures("gauge")
def test_a_hugging_face_training_is_a_call_with_epochs_and_steps(program):
    done = program(HUGGING_FACE + "train(PactCallback(measure_period=0.2))")

    assert done.code == 0, done.err
    assert done.settled().status == "complete"
    assert marks(done) == {"call": [0], "epoch": [0, 1], "step": [0, 1, 2, 3, 4, 5]}


@pytest.mark.usefixtures("gauge")
def test_a_resumed_training_goes_on_counting(program):
    done = program(
        HUGGING_FACE
        + "train(PactCallback(), epochs=3, state=SimpleNamespace(epoch=2.0, global_step=6))"
    )

    assert marks(done) == {"call": [0], "epoch": [2], "step": [6, 7, 8]}


@pytest.mark.usefixtures("gauge")
def test_a_hugging_face_training_that_fails_in_a_with_block_is_closed_there(program):
    code = """
import time
try:
    with PactCallback() as energy:
        train(energy, fail_at=(1, 1))
except RuntimeError as error:
    assert str(error) == "out of memory"
time.sleep(0.5)
"""
    done = program(HUGGING_FACE + code)

    assert done.code == 0, done.err
    run = done.settled()
    assert run.status == "complete"
    assert run.duration_s < 0.4
    assert marks(done) == {"call": [0], "epoch": [0, 1], "step": [0, 1, 2, 3, 4]}


@pytest.mark.usefixtures("gauge")
def test_a_hugging_face_training_that_ends_the_program_is_complete(program):
    done = program(HUGGING_FACE + "train(PactCallback(), fail_at=(0, 0))")

    assert done.code == 1
    assert done.err.count("RuntimeError: out of memory") == 1
    assert done.settled().status == "complete"
    assert marks(done) == {"call": [0], "epoch": [0], "step": [0]}


@pytest.mark.usefixtures("gauge")
def test_the_next_training_closes_one_that_failed(program):
    code = """
energy = PactCallback()
try:
    train(energy, epochs=1, fail_at=(0, 0))
except RuntimeError:
    pass
train(energy, epochs=1)
"""
    done = program(HUGGING_FACE + code)

    assert done.settled().manifest["calls"] == 2
    assert marks(done) == {"call": [0, 1], "epoch": [0, 0], "step": [0, 0, 1, 2]}


@pytest.mark.usefixtures("gauge")
def test_a_lightning_fit_is_a_call_with_epochs_steps_and_validations(program):
    done = program(LIGHTNING + "fit(PactCallback())")

    assert done.code == 0, done.err
    assert marks(done) == {
        "call": [0],
        "epoch": [0, 1],
        "step": [0, 1, 2, 3, 4, 5],
        "validation": [None, 0, 1],
    }


@pytest.mark.usefixtures("gauge")
def test_a_lightning_fit_that_fails_is_closed(program):
    code = """
import time
try:
    fit(PactCallback(), fail_at=(0, 1))
except RuntimeError as error:
    assert str(error) == "out of memory"
time.sleep(0.5)
"""
    done = program(LIGHTNING + code)

    assert done.code == 0, done.err
    assert done.settled().duration_s < 0.4
    assert marks(done)["step"] == [0, 1]


@pytest.mark.usefixtures("gauge")
def test_under_pactmeter_run_the_regions_go_to_the_run_outside(program):
    code = HUGGING_FACE + "train(PactCallback())"
    outside = """
import pathlib, subprocess, sys
pathlib.Path("train.py").write_text(CODE)
words = [sys.executable, "-m", "pactmeter", "run", "-q", "--", sys.executable, "train.py"]
subprocess.run(words, check=True)
assert not pathlib.Path("PACT-2.csv").exists()
"""
    done = program(f"CODE = {code!r}\n" + outside)

    assert done.code == 0, done.err
    assert marks(done) == {"call": [0], "epoch": [0, 1], "step": [0, 1, 2, 3, 4, 5]}


def test_the_run_is_closed_although_a_region_cannot_be(monkeypatch):
    training = Training({})
    stopped = []
    monkeypatch.setattr(training._session, "start", lambda: None)
    monkeypatch.setattr(training._session, "stop", lambda: stopped.append(True))
    training.begin()
    training.enter("epoch", 0)

    held = region("step")  # not entered: leaving it raises, as Ctrl-C would
    training._open.append(("step", held))
    with pytest.raises(IndexError):
        training.end()

    assert stopped == [True]


def test_wrong_arguments_are_told_before_anything_starts():
    with pytest.raises(ConfigError, match="mesure_period"):
        Training({"mesure_period": 1})


@pytest.mark.parametrize("name", ["huggingface", "lightning"])
def test_a_framework_that_is_not_installed_is_named_with_what_to_install(program, name):
    block = "import sys\nfor n in ('transformers', 'lightning', 'pytorch_lightning'):\n"
    done = program(f"{block}    sys.modules[n] = None\nimport pactmeter.integrations.{name}")

    assert done.code == 1
    assert "pip install" in done.err.splitlines()[-1]


def test_a_summary_of_regions_can_be_made(program, gauge):
    code = """
from pactmeter.analysis.regions import regions
from pactmeter.analysis.run import load
import json, time
class Slow(PactCallback):
    def on_step_end(self, *args, **more):
        time.sleep(0.25)
        super().on_step_end(*args, **more)
train(Slow(measure_period=0.1), epochs=2, steps=4)
print(json.dumps(regions(load("PACT.csv"), each="epoch")))
"""
    done = program(HUGGING_FACE + code)

    told = json.loads(done.out)
    assert [each["index"] for each in told] == [0, 1]
    for each in told:
        (energy,) = each["energy"].values()
        assert energy["energy_j"] == pytest.approx(100.0, rel=0.1)
