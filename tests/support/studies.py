"""Folders of studies as a runner would have left them, with whatever a test plants in them."""

from __future__ import annotations

import json
from pathlib import Path

from pactmeter.study import plan
from pactmeter.study.definition import Definition, Settings, Workload
from pactmeter.study.idle import baseline_file
from pactmeter.study.journal import Journal
from support.written import UTC_S, write

FAULTS = "systemwide:faults"


def defined(families, **settings):
    """Return a study of these workloads, by family."""
    workloads = tuple(
        Workload(name, family, ("true",)) for family, names in families.items() for name in names
    )
    return Definition(Path("s.toml"), "s", None, Settings(**settings), workloads)


def system_faults(each_s):
    """Return the keys of `write` for a count of the whole machine, by its rate in each row."""
    event = {
        "column": FAULTS,
        "name": FAULTS.upper(),
        "scope": "system",
        "status": "ok",
        "reason": None,
        "full_name": "perf::PAGE_FAULTS",
        "group": FAULTS,
    }
    return {"columns": {FAULTS: each_s}, "events": [event]}


class Folder:
    """A study's folder: trials are put in with what they measured."""

    def __init__(self, path, definition):
        self.path = path
        path.mkdir()
        made = plan.make(definition)
        plan.write_json(path / plan.FILE, made.to_dict())
        self.plan = made
        self._journal = Journal(path)
        self._journal.add("open", session=1, pid=1)
        self._number = 0

    def _run(self, stem, sources, more, **options):
        """Write a run under a name, each an hour after the one before."""
        self._number += 1
        start = {"monotonic_s": 100.0, "utc_s": UTC_S + 3600 * self._number}
        end = {key: value + 60 for key, value in start.items()}
        folder = self.path / f".{stem}"
        folder.mkdir()
        more = {"clock": {"start": start, "end": end}, **(more or {})}
        write(folder, sources, more=more, **options)
        for file in folder.iterdir():
            file.rename(self.path / file.name.replace("PACT", stem))
        folder.rmdir()

    def done(self, stem, sources, *, work=None, marks=None, more=None, **options):
        """Put in a finished trial."""
        one = next(trial for trial in self.plan.trials if trial.stem == stem)
        family = self.plan.definition.workload(one.workload).family
        self._run(f"{stem}_PACT", sources, more, **options)
        record = {"session": 1, "family": family, "work": work or {}, "marks": marks or {}}
        (self.path / f"{stem}_trial.json").write_text(json.dumps(record))
        ending = "csv" if family == "stress" else "txt"
        (self.path / f"{stem}_out.{ending}").write_text("done\n")
        self._end(stem, "done", None)
        return self

    def failed(self, stem, reason):
        """Put in a trial that has failed."""
        self._end(stem, "failed", reason)
        return self

    def rest(self, when, sources, **options):
        """Put in a baseline."""
        file = baseline_file(1, when)
        self._run(file.removesuffix(".csv"), sources, {"baseline": {"busy_pct": 1.0}}, **options)
        self._journal.add("baseline", session=1, when=when, file=file, reason=None)
        return self

    def _end(self, stem, status, reason):
        told = {"status": status, "reason": reason, "duration_s": 60.0, "waited_s": 0.0}
        self._journal.add("end", trial=stem, mark=stem, **told)
