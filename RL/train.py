"""Train a soft actor-critic agent on a task of the DeepMind Control Suite, measured by PACT.

python RL/train.py env=cheetah_run --profile smoke
"""

import sys

from pactmeter import PACT
from pactmeter.errors import unknown_name
from pactmeter.study import script

ENVIRONMENTS = ("finger_turn_hard", "cheetah_run", "humanoid_run", "quadruped_run")
USUAL = 250
"""Updates of `smoke` in 60 s on two idle cores."""
PROFILES = {
    "tiny": {
        "steps": 300,
        "random_steps": 100,
        "batch_size": 128,
        "width": 256,
        "threads": 1,
        "measure_period": 0.1,
        "device": "cpu",
    },
    "smoke": {"random_steps": 1000, "warm_up": 1005, "seconds": 45},
    "paper": {},
}


def options():
    parser = script.options("Train soft actor-critic on a control task, measured by PACT.")
    script.add_training(parser)
    add = parser.add_argument
    parser.set_defaults(steps=100_000)
    add("words", nargs="*", metavar="env=NAME", help="the original's way to name the task")
    add("--env", default="cheetah_run", metavar="NAME", help=", ".join(ENVIRONMENTS))
    add("--random-steps", type=script.positive, default=5000, metavar="N", help="at first (5000)")
    add("--batch-size", type=script.positive, default=1024, metavar="N", help="(1024)")
    add("--width", type=script.positive, default=1024, metavar="N", help="of two layers (1024)")
    add("--lr", type=float, default=1e-4, help="learning rate (1e-4)")
    return parser


def main(args):
    task = named(args)
    device = script.prepare(args)
    for module in ("gymnasium", "dm_control", "stable_baselines3"):
        script.need(module)
    import envs
    from stable_baselines3 import SAC
    from stable_baselines3.common.callbacks import BaseCallback

    agent = SAC(
        "MlpPolicy",
        envs.Task(task, args.seed),
        learning_rate=args.lr,
        batch_size=args.batch_size,
        buffer_size=100_000,
        learning_starts=args.random_steps,
        tau=0.005,
        gamma=0.99,
        train_freq=1,
        gradient_steps=1,
        ent_coef="auto_0.1",
        target_update_interval=2,
        policy_kwargs={"net_arch": [args.width, args.width]},
        seed=args.seed,
        device=device,
    )
    work = script.Work(seconds_s=args.seconds)

    class Count(BaseCallback):
        """Counts updates, which follow the environment's steps."""

        def _on_training_start(self):
            work.begin()
            self.seen = agent.logger.name_to_value["train/n_updates"]

        def _on_step(self):
            self._count()
            work.look()
            return not work.is_done

        def _on_training_end(self):  # the last update comes after the last step
            self._count()

        def _count(self):
            told = agent.logger.name_to_value
            if told["train/n_updates"] > self.seen:
                self.seen = told["train/n_updates"]
                work.add(told["train/critic_loss"], args.batch_size)
                if work.steps % 1000 == 0:
                    work.tell(f"{agent.num_timesteps} steps in the environment")

    if args.warm_up:
        agent.learn(args.warm_up)
    before = agent.num_timesteps

    @PACT(
        measure_period=args.measure_period,
        perf_measure_period=args.perf_period,
        events_groups=args.events,
        tracker_file_name=args.tracker_file,
        PSU=args.psu,
    )
    def train():
        agent.learn(args.steps, Count(), reset_num_timesteps=not args.warm_up)

    script.chosen(train, args)()
    if args.profile == "smoke":
        work.compare(USUAL)
    work.report(
        model="sac",
        env=task,
        env_steps=agent.num_timesteps - before,
        profile=args.profile or "none",
        data="real",
        device=str(device),
        parameters=parameters(agent),
        final_sha256=script.fingerprint(agent.policy.state_dict()),
    )


def named(args):
    """Return the task that is asked for, in the original's way or in ours."""
    name = args.env
    for word in args.words:
        key, _, name = word.partition("=")
        if key != "env":
            raise unknown_name("setting", key, ["env"], fix="name the task, as env=cheetah_run")
    if name not in ENVIRONMENTS:
        raise unknown_name("task", name, ENVIRONMENTS)
    return name


def parameters(agent):
    """Count the actor's and the critics' parameters; the targets are copies."""
    return sum(p.numel() for net in (agent.actor, agent.critic) for p in net.parameters())


if __name__ == "__main__":
    sys.exit(script.run(main, options(), PROFILES))
