"""Tasks of the DeepMind Control Suite as gymnasium environments.

What is observed is one vector, actions run from -1 to 1, and the end of an episode (1 000 steps) is
a limit of time, not an end of the task: learning goes on past it, as in the original study.
"""

import os

os.environ.setdefault("MUJOCO_GL", "disabled")  # nothing is drawn; without a display it would warn

import gymnasium
import mujoco
import numpy as np
from dm_control import suite

from pactmeter.errors import PactError

TASKS = {
    "cheetah_run": ("cheetah", "run"),
    "finger_turn_hard": ("finger", "turn_hard"),
    "humanoid_run": ("humanoid", "run"),
    "quadruped_run": ("quadruped", "run"),
}


class Task(gymnasium.Env):
    """One task, by its name in `TASKS`."""

    def __init__(self, name, seed=None):
        if int(mujoco.__version__.split(".")[0]) >= 4:
            raise PactError(
                f"dm_control does not work with mujoco {mujoco.__version__}",
                "pip install 'mujoco<4'",
            )
        self._task = suite.load(*TASKS[name], task_kwargs={"random": seed})
        action = self._task.action_spec()
        self._low, self._high = action.minimum, action.maximum
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, action.shape, np.float32)
        size = sum(int(np.prod(spec.shape)) for spec in self._task.observation_spec().values())
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def reset(self, *, seed=None, options=None):  # noqa: ARG002  gymnasium's
        super().reset(seed=seed)
        if seed is not None:
            self._task.task.random.seed(seed)
        return _vector(self._task.reset().observation), {}

    def step(self, action):
        scaled = self._low + (np.asarray(action) + 1.0) * (self._high - self._low) / 2.0
        moment = self._task.step(scaled)
        return _vector(moment.observation), moment.reward, False, moment.last(), {}


def _vector(observation):
    return np.concatenate([np.ravel(part) for part in observation.values()]).astype("float32")
