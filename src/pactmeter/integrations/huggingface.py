"""Hugging Face: measure what a ``Trainer`` does, with a region for each epoch and each step.

>>> from pactmeter.integrations.huggingface import PactCallback  # doctest: +SKIP
>>> with PactCallback(tracker_file_name="train.csv") as energy:  # doctest: +SKIP
...     Trainer(model, args, train_dataset=data, callbacks=[energy]).train()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pactmeter.integrations.training import EPOCH, STEP, Training

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise ImportError(f"{__name__} needs transformers: pip install transformers") from error

if TYPE_CHECKING:
    from types import TracebackType


class PactCallback(TrainerCallback):  # type: ignore[misc]  # transformers may have no types
    """A callback that measures each ``train()`` as a call of one run.

    Takes the keyword arguments of `PACT`. Trainer tells its callbacks of no error: as a ``with``
    block the callback closes the run at the end of the block whatever happened, without it a failed
    training is measured until the next one begins or the program ends.

    Raises:
        ConfigError: An argument is wrong.
    """

    def __init__(self, **arguments: Any) -> None:
        self._training = Training(arguments)
        self._next_epoch = 0

    def __enter__(self) -> PactCallback:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._training.end()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start measuring."""
        self._next_epoch = 0
        self._training.begin()

    def on_epoch_begin(self, _args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Open the epoch; its number is that of the whole training, also where one is resumed."""
        # `state.epoch` is a fraction: of an epoch cut short it has not yet come to the next number
        index = max(self._next_epoch, int(state.epoch or 0))
        self._next_epoch = index + 1
        self._training.enter(EPOCH, index)

    def on_step_begin(self, _args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Open the step; waiting for the GPU at each would slow the training down."""
        self._training.enter(STEP, state.global_step, sync=False)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Close the step."""
        self._training.leave(STEP)

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """Close the epoch."""
        self._training.leave(EPOCH)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Stop measuring."""
        self._training.end()
