"""The studies' scripts train: the papers' models, tiny ones to the end, and what they refuse.

They need torch and more: an environment of their own, made from ``workloads.txt`` beside this file;
`PACTMETER_WORKLOADS` names the Python of another one.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from pactmeter.study import work
from support.programs import SRC, Finished, program_file
from support.rights import refuse

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("PACTMETER_WORKLOADS", ROOT / ".venv/frameworks/bin/python"))
SCRIPTS = {"cv": "CV/main.py", "nlp": "NLP/train.py", "rl": "RL/train.py"}
MARKS = {"cv": {"data": "made up"}, "nlp": {"data": "made up", "weights": "random"}, "rl": {}}
"""Of a tiny training, in its manifest."""
CPU = {**os.environ, "PYTHONPATH": str(SRC), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
OFFLINE = {"HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": "/dev/null/none"}
"""What is downloaded nonetheless, is an error."""


@pytest.fixture
def start(tmp_path, gauge):
    """Run a script of a study, by its family, or a program in its folder, in the test's folder."""
    if not PYTHON.is_file():
        refuse(f"there is no {PYTHON}: make .venv/frameworks.stamp, or set PACTMETER_WORKLOADS")

    def run(family, *words, code=None, **environment):
        script = ROOT / SCRIPTS[family]
        sysfs = {"PACTMETER_SYSFS": os.environ["PACTMETER_SYSFS"]}
        whole = {**CPU, **sysfs, **OFFLINE, **environment}
        if code is not None:
            script = program_file(code, tmp_path)
            whole["PYTHONPATH"] = f"{SRC}:{(ROOT / SCRIPTS[family]).parent}"
        done = subprocess.run(
            [PYTHON, script, *words],
            cwd=tmp_path,
            env=whole,
            capture_output=True,
            text=True,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr, tmp_path)

    return run


def test_the_vision_models_are_the_papers(start):
    code = """
import json, torch, models
with torch.device("meta"):
    made = {name: getattr(models, name)() for name in ("vgg", "resnet", "mobilenet", "densenet")}
    shapes = [list(model(torch.empty(2, 3, 32, 32)).shape) for model in made.values()]
found = {n: (sum(p.numel() for p in m.parameters()), len(m.state_dict())) for n, m in made.items()}
print(json.dumps([found, shapes]))
"""
    done = start("cv", code=code)

    assert done.code == 0, done.err
    assert json.loads(done.out) == [
        {
            "vgg": [20_040_522, 114],
            "resnet": [11_173_962, 122],
            "mobilenet": [3_217_226, 164],
            "densenet": [6_956_298, 722],
        },
        [[2, 10]] * 4,
    ]


def test_the_language_models_are_the_papers(start):
    code = """
import json, torch, transformers, models
with torch.device("meta"):
    make = transformers.AutoModelForSequenceClassification.from_config
    found = {
        name: make(models.configuration(shape, "distil" in name)).num_parameters()
        for name, shape in models.SHAPES.items()
    }
print(json.dumps(found))
"""
    done = start("nlp", code=code)

    assert done.code == 0, done.err
    assert json.loads(done.out) == {
        "prajjwal1/bert-small": 28_764_674,
        "prajjwal1/bert-medium": 41_374_210,
        "bert-base-uncased": 109_483_778,
        "bert-large-uncased": 335_143_938,
        "distilbert-base-uncased": 66_955_010,
    }


def test_the_control_tasks_and_their_agents_are_the_papers(start):
    code = """
import json, envs, train, warnings
from stable_baselines3 import SAC
from stable_baselines3.common.env_checker import check_env
found = {}
for name in envs.TASKS:
    task = envs.Task(name, 1)
    check_env(task)
    agent = SAC("MlpPolicy", task, policy_kwargs={"net_arch": [1024, 1024]}, device="cpu")
    first, _ = task.reset(seed=3)
    for count in range(1, 2000):
        _, _, ended, stopped, _ = task.step(task.action_space.sample())
        assert not ended
        if stopped:
            break
    again, _ = task.reset(seed=3)
    sizes = task.observation_space.shape[0], task.action_space.shape[0]
    found[name] = [*sizes, train.parameters(agent), count, bool((first == again).all())]
print(json.dumps(found))
"""
    done = start("rl", code=code)

    assert done.code == 0, done.err
    assert json.loads(done.out) == {
        "cheetah_run": [17, 6, 1_080_332 + 2_150_402, 1000, True],
        "finger_turn_hard": [12, 2, 1_067_012 + 2_131_970, 1000, True],
        "humanoid_run": [67, 21, 1_162_282 + 2_283_522, 1000, True],
        "quadruped_run": [78, 12, 1_155_096 + 2_287_618, 1000, True],
    }


@pytest.mark.parametrize(
    ("family", "words", "steps", "marks"),
    [
        ("cv", ("--model", "vgg"), 40, {"data": "made up"}),
        ("cv", ("--model", "densenet", "--workers", "1"), 40, {"data": "made up"}),
        ("nlp", ("-model", "prajjwal1/bert-small"), 60, {"data": "made up", "weights": "random"}),
        ("nlp", ("-model", "distilbert-base-uncased", "--fold", "5"), 60, {"weights": "random"}),
        ("rl", ("env=cheetah_run",), 200, {"env": "cheetah_run"}),
    ],
)
def test_a_tiny_training_learns_the_same_measured_or_not(start, family, words, steps, marks):
    words = (*words, "--profile", "tiny", "--tracker-file", "some.csv")

    alone = start(family, *words, "--no-pact")
    assert not (alone.folder / "some.csv").exists()
    done = start(family, *words)

    assert alone.code == done.code == 0, alone.err + done.err
    told = work.find(done.out)
    assert told["steps"] == steps
    assert told["loss_last"] < 0.9 * told["loss_first"]
    assert {**told, **marks, "profile": "tiny"} == told
    assert told["final_sha256"] == work.find(alone.out)["final_sha256"]
    run = done.settled("some.csv")
    assert run.status == "complete"
    assert run.marks == MARKS[family]
    assert told["train_s"] < run.duration_s < told["train_s"] + 2
    assert all(path.exists() for path in run.files.all)


def test_another_seed_learns_something_else(start):
    words = ("--model", "vgg", "--profile", "tiny", "--no-pact", "--steps", "2")

    found = [work.find(start("cv", *words, "--seed", seed).out) for seed in ("1", "2")]

    assert found[0]["final_sha256"] != found[1]["final_sha256"]
    assert found[0]["steps"] == found[1]["steps"] == 2


def test_the_papers_settings_are_the_originals(start):
    words = ("--model", "mobilenet", "--profile", "paper", "--made-up", "200", "--steps", "1")
    done = start("cv", *words, "--res", ".", "--threads", "1")

    assert done.code == 0, done.err
    told = work.find(done.out)
    assert (told["samples"], told["parameters"], told["profile"]) == (128, 3_217_226, "paper")
    code = """
import json, sys, main
from pactmeter.study import script
def show(args):
    print(json.dumps([args.batch_size, args.workers, args.epochs, args.lr, args.steps]))
for words in (["--profile", "paper"], []):
    sys.argv = ["main.py", *words]
    script.run(show, main.options(), main.PROFILES)
print(json.dumps(main.EPOCHS))
"""
    done = start("cv", code=code)
    assert [json.loads(line) for line in done.out.splitlines()] == [
        [128, 2, None, None, None],
        [128, 2, 10, None, None],
        {"vgg": 200, "resnet": 200, "densenet": 50, "mobilenet": 300},
    ]


def test_an_archive_is_read_as_it_was_written(start):
    code = """
import io, pathlib, tarfile, cifar, torch
from pactmeter.errors import FileError
path = cifar.make(pathlib.Path("made.tar.gz"), 100)
with tarfile.open(path) as archive:
    print(sorted(archive.getnames()), {member.size for member in archive})
pictures, classes = cifar.read(path)
print(pictures.shape, pictures.dtype, classes.shape, cifar.read(path, cifar.TEST)[1].shape)
seen = cifar.Augmented(pictures, classes)
plain = torch.nn.functional.pad(pictures[7], (4, 4, 4, 4))
variants = {
    (top, left, mirrored): (part.flip(2) if mirrored else part) / 255
    for top in range(9) for left in range(9) for mirrored in (0, 1)
    for part in [plain[:, top:top + 32, left:left + 32]]
}
found = set()
for _ in range(300):
    picture, label = seen[7]
    assert label == classes[7]
    picture = picture * cifar.SPREAD + cifar.MEAN
    found |= {name for name, one in variants.items() if torch.allclose(one, picture, atol=1e-5)}
print(*[{name[axis] for name in found} for axis in range(3)])

def refused(name, record):
    with tarfile.open(name, "w:gz") as archive:
        for member in cifar.TRAINING:
            info = tarfile.TarInfo(f"{cifar.FOLDER}/{member}")
            info.size = len(record)
            archive.addfile(info, io.BytesIO(record))
    try:
        cifar.read(name)
    except FileError as error:
        print(error)

refused("class.tar.gz", bytes([10]) + bytes(3072))
refused("size.tar.gz", bytes(3000))
pathlib.Path("cut.tar.gz").write_bytes(path.read_bytes()[:50_000])
for name in ("cut.tar.gz", "absent.tar.gz"):
    try:
        cifar.read(name)
    except FileError as error:
        print(error)
"""
    done = start("cv", code=code)

    assert done.code == 0, done.err
    lines = done.out.splitlines()
    names = [f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)]
    assert lines[0] == f"{[*names, 'cifar-10-batches-bin/test_batch.bin']} {{{20 * 3073}}}"
    assert lines[1].startswith("torch.Size([100, 3, 32, 32]) torch.uint8 torch.Size([100]) torch")
    assert lines[2] == f"{set(range(9))} {set(range(9))} {{0, 1}}"
    assert lines[3] == "class.tar.gz holds a class 10: CIFAR-10 has 0 to 9"
    assert lines[4] == "size.tar.gz holds 15000 bytes, not records of 3073"
    assert lines[5].startswith("cut.tar.gz is no archive of CIFAR-10 in its binary form")
    assert lines[6].startswith("absent.tar.gz is no archive of CIFAR-10 in its binary form")


def test_a_training_goes_on_from_its_checkpoint(start):
    words = ("--model", "mobilenet", "--profile", "tiny", "--no-pact", "--epochs", "1")
    words = (*words, "--checkpoint", "kept/model.pth")

    first = start("cv", *words)
    second = start("cv", *words, "--resume")

    assert first.code == second.code == 0, second.err
    assert work.find(second.out)["loss_first"] < work.find(first.out)["loss_last"]


REFUSED = {
    "cv": [
        ("--device cuda", "no device 'cuda': torch .* sees 0 GPUs"),
        ("--resume", "cannot resume from checkpoint/ckpt.pth"),
        ("--lr 1e30 --steps 9", "the loss is (nan|inf) after"),
        ("--made-up 0", "cannot keep cifar-10-binary.tar.gz in /dev/null"),
        ("--psu Corsair_1500", "Corsair_1500i"),
    ],
    "nlp": [
        ("--weights nowhere/such", "there are no weights of nowhere/such"),
        ("-train absent.tsv", "-train names a file, and --made-up"),
        ("-train absent.tsv --made-up 0", "cannot read absent.tsv"),
        ("--fold 6", "no fold 6"),
    ],
    "rl": [
        ("env=cheeta_run", "did you mean 'cheetah_run'"),
        ("envs=cheetah_run", "unknown setting 'envs'"),
        ("--steps 50", "ended before its first step"),
    ],
}


@pytest.mark.parametrize("family", REFUSED)
def test_what_cannot_be_done_is_an_error_with_a_line(start, family):
    name = Path(SCRIPTS[family]).stem
    code = f"""
import sys, {name} as study
from pactmeter.study import script
for words in {[words for words, _ in REFUSED[family]]}:
    sys.argv = ["{name}.py", "--profile", "tiny", *words.split()]
    code = script.run(study.main, study.options(), study.PROFILES)
    print(f"exit code {{code}}", file=sys.stderr)
"""
    done = start(family, code=code)

    assert done.code == 0, done.err
    assert work.find(done.out) is None
    told = done.err.split("exit code ")
    assert len(told) == len(REFUSED[family]) + 1
    for text, follows, (words, pattern) in zip(told, told[1:], REFUSED[family], strict=False):
        assert re.search(pattern, text), (words, text)
        assert follows[0] in "12"


@pytest.mark.parametrize(
    ("family", "module"), [("cv", "torch"), ("nlp", "transformers"), ("rl", "dm_control")]
)
def test_a_library_that_is_missing_is_told_with_pips_line(start, tmp_path, family, module):
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / f"{module}.py").write_text(f"raise ImportError('No module {module}')")

    done = start(family, "--profile", "tiny", PYTHONPATH=f"{tmp_path / 'none'}:{SRC}")

    assert done.code == 1
    assert f"this workload needs the module {module}" in done.err
    assert "fix: pip install " in done.err
    assert "Traceback" not in done.err
