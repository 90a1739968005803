"""Lightning: measure what ``fit`` does, with a region for each epoch, step and validation.

>>> from pactmeter.integrations.lightning import PactCallback  # doctest: +SKIP
>>> Trainer(callbacks=[PactCallback(tracker_file_name="train.csv")]).fit(model)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any

from pactmeter.integrations.training import EPOCH, STEP, VALIDATION, Training

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    try:
        from pytorch_lightning.callbacks import Callback
    except ImportError as error:
        raise ImportError(f"{__name__} needs Lightning: pip install lightning") from error


class PactCallback(Callback):  # type: ignore[misc]  # lightning may have no types
    """A callback that measures each ``fit`` as a call of one run; one that fails is closed too.

    Takes the keyword arguments of `PACT`.

    Raises:
        ConfigError: An argument is wrong.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self._training = Training(arguments)
        self._steps = 0

    def on_fit_start(self, *_: Any) -> None:
        """Start measuring."""
        self._steps = 0
        self._training.begin()

    def on_train_epoch_start(self, trainer: Any, *_: Any) -> None:
        """Open the epoch."""
        self._training.enter(EPOCH, trainer.current_epoch)

    def on_train_batch_start(self, *_: Any) -> None:
        """Open the step; waiting for the GPU at each would slow the training down.

        Steps are counted from 0 on over all epochs: a batch has the same number in each.
        """
        self._training.enter(STEP, self._steps, sync=False)
        self._steps += 1

    def on_train_batch_end(self, *_: Any) -> None:
        """Close the step."""
        self._training.leave(STEP)

    def on_validation_start(self, trainer: Any, *_: Any) -> None:
        """Open the validation; it is a part of its epoch."""
        index = None if trainer.sanity_checking else trainer.current_epoch
        self._training.enter(VALIDATION, index)

    def on_validation_end(self, *_: Any) -> None:
        """Close the validation."""
        self._training.leave(VALIDATION)

    def on_train_epoch_end(self, *_: Any) -> None:
        """Close the epoch."""
        self._training.leave(EPOCH)

    def on_fit_end(self, *_: Any) -> None:
        """Stop measuring."""
        self._training.end()

    def on_exception(self, *_: Any) -> None:
        """Stop measuring: the training has failed, or Ctrl-C has ended it."""
        self._training.end()
