"""`@PACT` on every kind of function: the function stays the user's."""

import json

import pytest

HEAD = """
    import asyncio, inspect, json, os, sys, threading, time
    import pactmeter
    from pactmeter import PACT, Session
    def counts(name="PACT.csv"):
        run = pactmeter.read(name)
        return len(run.regions), run.manifest["calls"], run.manifest["status"]
"""


def result(done):
    assert done.code == 0, done.err
    return json.loads(done.out.strip().splitlines()[-1])


def test_value_metadata_and_arguments_pass_through_with_and_without_brackets(program):
    done = program(
        HEAD
        + """
    @PACT
    def plain(a, *, b=2):
        "doc"
        return a + b
    @PACT(measure_period=0.5)
    def called(a): return a
    class Model:
        @PACT
        def method(self, x): return (type(self).__name__, x)
        @PACT
        @classmethod
        def make(cls): return cls.__name__
        @staticmethod
        @PACT
        def static(): return "static"
    print(json.dumps([plain(1, b=5), called([1]), Model().method(3), Model.make(), Model.static(),
        plain.__name__, plain.__doc__, str(inspect.signature(plain))]))
    """
    )
    expected = [6, [1], ["Model", 3], "Model", "static", "plain", "doc", "(a, *, b=2)"]
    assert result(done) == expected


@pytest.mark.usefixtures("gauge")
@pytest.mark.parametrize(
    ("raised", "code"),
    [("KeyError('loss')", 1), ("KeyboardInterrupt()", 130), ("SystemExit(5)", 5)],
)
def test_what_the_function_raises_is_what_the_caller_gets_and_the_call_is_closed(
    program, raised, code
):
    done = program(
        HEAD
        + f"""
    error = {raised}
    @PACT
    def fails(): raise error
    try:
        fails()
    except BaseException as caught:
        assert caught is error
        if isinstance(error, KeyboardInterrupt): sys.exit(130)
        raise
    """
    )
    assert done.code == code, done.err
    run = done.run()
    assert (run.status, run.manifest["calls"]) == ("complete", 1)


def test_coroutines_generators_and_async_generators_keep_their_protocol(program):
    done = program(
        HEAD
        + """
    @PACT
    async def coroutine(x):
        await asyncio.sleep(0.01)
        return x
    @PACT
    def generator():
        got = []
        try:
            while True:
                got.append((yield len(got)))
        except ValueError:
            yield "caught"
        return got
    @PACT
    async def stream():
        try:
            for n in range(3):
                try:
                    got = yield n
                except ValueError:
                    yield "caught"
        finally:
            await asyncio.sleep(0)
            closed.append(1)
    closed = []
    out = [asyncio.run(coroutine(4))]
    g = generator()
    out += [next(g), g.send("a"), g.send("b"), g.throw(ValueError())]
    try: next(g)
    except StopIteration as stop: out.append(stop.value)
    async def use():
        got = [n async for n in stream()]
        s = stream()
        got += [await s.__anext__(), await s.asend("x"), await s.athrow(ValueError())]
        await s.aclose()
        return got
    out += [asyncio.run(use()), len(closed)]
    out += [inspect.iscoroutinefunction(coroutine), inspect.isgeneratorfunction(generator)]
    print(json.dumps([out, counts()]))
    """
    )
    out, (regions, calls, _) = result(done)
    assert out == [4, 0, 1, 2, "caught", ["a", "b"], [0, 1, 2, 0, 1, "caught"], 2, True, True]
    assert regions == calls == 4


def test_recursion_nesting_and_threads_are_regions_of_one_run(program):
    done = program(
        HEAD
        + """
    @PACT
    def recursive(n): return 0 if n == 0 else 1 + recursive(n - 1)
    @PACT
    def outer(): return recursive(2)
    barrier = threading.Barrier(2)
    @PACT
    def meet(): barrier.wait(10)
    outer()
    threads = [threading.Thread(target=meet) for _ in range(2)]
    for t in threads: t.start()
    for t in threads: t.join()
    frame = pactmeter.read("PACT.csv").regions
    names = sorted(set(frame["name"]))
    nested = frame[frame["index"].between(1, 3)]
    first = frame[frame["index"] == 0].iloc[0]
    later = (nested["start_s"] >= first["start_s"]).all()
    inside = bool(later and (nested["end_s"] <= first["end_s"]).all())
    print(json.dumps([counts(), names, inside, len(set(frame["tid"])), len(os.listdir("."))]))
    """
    )
    (regions, calls, _), names, inside, tids, files = result(done)
    assert regions == calls == 6
    assert names == ["call"]
    assert inside
    assert tids == 3
    assert files == 5  # four of the run, and the program


def test_a_thousand_short_calls_are_a_thousand_marks_of_one_sampler(program):
    done = program(
        HEAD
        + """
    @PACT
    def step(): return 1
    step()
    start = time.process_time(), time.monotonic()
    assert sum(step() for _ in range(1000)) == 1000
    cpu, wall = time.process_time() - start[0], time.monotonic() - start[1]
    print(json.dumps([counts(), cpu, wall, len(pactmeter.read("PACT.csv").power)]))
    """
    )
    (regions, calls, _), cpu_s, wall_s, rows = result(done)
    assert regions == calls == 1001
    assert rows >= 1001
    assert cpu_s < 2.0
    assert wall_s < 20.0


def test_a_session_is_a_context_manager_and_a_start_stop_object(program):
    done = program(
        HEAD
        + """
    from trackerPACT import Tracker
    with Session(tracker_file_name="s.csv") as session:
        time.sleep(0.05)
    session.start(); session.stop()
    tracker = Tracker(tracker_file_name="t.csv")
    try: tracker.stop()
    except Exception as error: text = str(error)
    tracker.start(); tracker.stop()
    period = pactmeter.read("t.csv").manifest["config"]["measure_period_s"]
    print(json.dumps([counts("s.csv"), counts("t.csv"), text, session.file.name, period]))
    """
    )
    first, second, text, name, period = result(done)
    assert first[:2] == [2, 2]
    assert second[:2] == [1, 1]
    assert text == (
        "Need to first start the tracker by running tracker.start() or tracker.start_training()"
    )
    assert (name, period) == ("s.csv", 10.0)


@pytest.mark.usefixtures("gauge")
def test_a_forked_worker_neither_holds_the_run_open_nor_writes_to_it(program):
    done = program(
        HEAD
        + """
    import multiprocessing
    @PACT
    def inner(): return os.getpid()
    def child(queue): queue.put(inner())
    @PACT
    def outer():
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        worker = context.Process(target=child, args=(queue,))
        worker.start()
        pid = queue.get()
        worker.join()
        left = os.fork()
        if left == 0:
            time.sleep(3)
            os._exit(0)
        return pid, worker.exitcode, left
    pid, code, left = outer()
    done = counts()
    os.kill(left, 9); os.waitpid(left, 0)
    print(json.dumps([pid != os.getpid(), code, done]))
    """
    )
    other, code, (regions, calls, _) = result(done)
    assert (other, code) == (True, 0)
    assert regions == calls == 1
    assert done.run().status == "complete"


@pytest.mark.usefixtures("gauge")
def test_a_call_in_a_worker_forked_before_any_run_has_a_run_of_its_own(program):
    done = program(
        HEAD
        + """
    import multiprocessing
    @PACT
    def work(): time.sleep(0.05); return 1
    def child(): work()
    worker = multiprocessing.get_context("fork").Process(target=child)
    worker.start(); worker.join()
    work()
    files = [name for name in os.listdir(".") if name.startswith("PACT")]
    print(json.dumps([worker.exitcode, counts(), len(files)]))
    """
    )
    code, (_regions, calls, _), files = result(done)
    assert code == 0
    assert calls == 1
    assert files == 8  # the worker's four were set aside
    (aside,) = done.folder.glob("PACT-2*.json")
    assert json.loads(aside.read_text())["status"] == "complete"


def test_two_runs_of_one_process_with_other_settings_have_files_of_their_own(program):
    done = program(
        HEAD
        + """
    @PACT
    def one(): return two()
    @PACT(measure_period=0.5)
    def two(): return 2
    one()
    print(json.dumps([counts(), counts("PACT-2.csv")]))
    """
    )
    assert [c[:2] for c in result(done)] == [[1, 1], [1, 1]]


def test_the_manifest_says_what_priority_the_sampler_got(program):
    done = program(
        HEAD
        + """
    with Session(tracker_file_name="plain.csv"): pass
    with Session(tracker_file_name="real.csv", realtime=True): pass
    used = [pactmeter.read(name).manifest["used"]["priority"] for name in ("plain.csv", "real.csv")]
    print(json.dumps(used))
    """
    )
    plain, real = result(done)
    assert plain.startswith("nice ")
    assert real == "SCHED_FIFO 1" or "refused" in real


def test_the_end_names_the_file_and_the_command_in_one_line(program):
    done = program("from pactmeter import PACT\nPACT(lambda: 1)()\n")
    assert done.out == ""
    assert len(done.err.strip().splitlines()) == 1
    assert "pactmeter report PACT.csv" in done.err


def test_cuda_is_synchronised_at_both_edges_where_torch_has_it_up(program):
    done = program(
        HEAD
        + """
    import types
    torch = types.ModuleType("torch")
    class Cuda:
        up, calls = False, 0
        def is_initialized(self): return self.up
        def synchronize(self): self.calls += 1
    torch.cuda = Cuda()
    sys.modules["torch"] = torch
    @PACT(tracker_file_name="a.csv")
    def a(): pass
    @PACT(tracker_file_name="b.csv", sync=False)
    def b(): pass
    a(); before = torch.cuda.calls
    torch.cuda.up = True
    a(); after = torch.cuda.calls
    b(); never = torch.cuda.calls - after
    torch.cuda.synchronize = lambda: 1 / 0
    a()
    print(json.dumps([before, after, never]))
    """
    )
    assert result(done) == [0, 2, 0]


def test_marks_are_in_the_manifest_and_other_marks_are_another_run(program):
    done = program(
        HEAD
        + """
    @PACT(marks={"weights": "random", "data": "made up"})
    def made_up(): return real()
    @PACT(marks={"data": "real"})
    def real(): pass
    made_up(); made_up()
    with Session(tracker_file_name="session.csv", marks={"data": "own"}): pass
    with pactmeter.Tracker(tracker_file_name="tracker.csv"): pass
    names = ("PACT.csv", "PACT-2.csv", "session.csv", "tracker.csv")
    marks = [pactmeter.read(name).manifest["config"]["marks"] for name in names]
    print(json.dumps([marks, pactmeter.read("PACT.csv").summary["marks"], counts()[1]]))
    """
    )
    marks, told, calls = result(done)
    made_up = {"data": "made up", "weights": "random"}
    assert marks == [made_up, {"data": "real"}, {"data": "own"}, {}]
    assert told == made_up
    assert calls == 2


def test_a_mark_that_cannot_be_is_told_before_any_call(program):
    done = program("from pactmeter import PACT\n@PACT(marks={'data': 3})\ndef f(): pass\n")
    assert done.code == 1
    assert "ConfigError: 'marks' says 3 of 'data', not a text of one line" in done.err
    assert list(done.folder.glob("PACT*")) == []
