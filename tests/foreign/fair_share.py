"""What the others notice while one member or stranger takes all that it can: figures beside targets.

Each row has a server of its own with its defaults, on a copy of one prepared data directory, and an attacker in processes of
its own at the lowest priority (fair_attacks.py), so that what is measured is what the server gives it and not what the machine
does. Who suffers and who measures share the machine's cores with the server, which every figure includes."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import harness
from abuse import Figures
from calls import HISTORY, SEND, Caller, history_request, send_request
from prepared import PlainServer, Prepared

HERE = Path(__file__).resolve().parent
PATIENCE_S = 60
PROXY = ("--trusted-proxy", "127.0.0.1")


class Figure:
    """One figure, and what it must be: at most `most`, or exactly `exactly`; without either it is only told."""

    def __init__(self, what, value, unit="", most=None, exactly=None):
        self.what, self.value, self.unit, self.most, self.exactly = what, value, unit, most, exactly

    @property
    def missed(self):
        if self.most is not None:
            return self.value > self.most
        return self.exactly is not None and self.value != self.exactly

    def row(self, name):
        target, verdict = "", ""
        if self.most is not None:
            target = f"≤ {_shown(self.most)} {self.unit}"
        elif self.exactly is not None:
            target = f"{self.exactly}"
        if target:
            verdict = "MISSED" if self.missed else "met"
        return f"| {name} | {self.what} | {_shown(self.value)} {self.unit} | {target} | {verdict} |"


def _shown(value):
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else value
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


class Stage:
    """What the rows need. `pace` shortens all of them alike, for a trial of this program."""

    def __init__(self, prepared, pace=1.0):
        self.prepared, self.pace = prepared, pace
        self.people = prepared.people

    def seconds(self, number):
        return max(1.0, number * self.pace)

    @contextmanager
    def server(self, *flags, place=None, prefix=(), log=None):
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otpchat-share-")))
            place = place or scratch / "data"
            self.prepared.copy(place)
            # The copy has not seen the codes that other rows used.
            for person in self.people:
                person.phone.last_step = person.enrolled_in_step
            server = PlainServer(*flags, data_dir=place, log=log or scratch / "server.log")
            server.prefix = prefix
            yield stack.enter_context(server)

    @contextmanager
    def attack(self, name, server, seconds, **plan):
        """A running attack; its `report` is there once it has ended. It is not waited for any longer than it may take."""
        plan = {"attack": name, "address": server.at, "seconds": seconds, **plan}
        attacker = subprocess.Popen([sys.executable, HERE / "fair_attacks.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    text=True)
        attacker.report = None
        try:
            attacker.stdin.write(json.dumps(plan))
            attacker.stdin.close()
            yield attacker
            attacker.report = json.loads(attacker.stdout.read())
            assert attacker.wait(PATIENCE_S) == 0, name
            print(f"  {name}: {attacker.report}", file=sys.stderr)
        finally:
            if attacker.poll() is None:
                attacker.kill()
                attacker.wait()
            attacker.stdout.close()


class Others:
    """People who write and read at an honest pace, each from an address of their own; how long their calls take."""

    def __init__(self, loop, server, people, pause=0.2, one_message_in=2):
        self.loop, self.pause, self.one_message_in = loop, pause, one_message_in
        self.callers = [Caller(loop, server.at, (person.header(),), f"127.0.1.{n + 1}") for n, person in enumerate(people)]
        self.running, self.under_way, self.calls = False, 0, []

    def run(self, seconds, over=lambda: False):
        """For that long or until `over()`: the calls."""
        self.running, self.calls = True, []
        for n, caller in enumerate(self.callers):
            self._next(caller, n)
        self.loop.run(time.monotonic() + seconds, over)
        self.running = False
        self.loop.run(time.monotonic() + PATIENCE_S, lambda: self.under_way == 0)
        assert self.under_way == 0, "a call of an honest person had no answer for a minute"
        return self.calls

    def _next(self, caller, n):
        if not self.running:
            return
        path, message = HISTORY, history_request(20)
        if n % self.one_message_in == 0:
            path, message = SEND, send_request(f"слышно? {n}")

        def then(call):
            self.under_way -= 1
            self.calls.append(call)
            self.loop.at(time.monotonic() + self.pause, lambda: self._next(caller, n + 1))
        self.under_way += 1
        caller.call(path, message, then=then)


def quantile(calls, share):
    """In milliseconds."""
    ordered = sorted(1000 * call.took for call in calls)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def refused(calls):
    """How many had no answer, with the words of the first on stderr."""
    those = [call for call in calls if not call.answered]
    if those:
        print(f"  refused: {those[0].path} {those[0].refusal}", file=sys.stderr)
    return len(those)


class SlowLog:
    """A reader of the server's log that takes at most 1,000 lines a second; journald keeps 10,000 in 30 s by default. The server
    writes into `path`; `text()` is what arrived until it ended."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="otpchat-log-")
        self.path = Path(self.directory.name) / "log"
        os.mkfifo(self.path, 0o600)
        self.lines = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        with open(self.path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self.lines.append(line)
                time.sleep(0.001)

    def text(self):
        self.thread.join(PATIENCE_S)
        return "".join(self.lines)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.directory.cleanup()


def lock_user(server, login):
    """The administrator's command: seconds, and its exit code."""
    started = time.perf_counter()
    command = [harness.OTPCHATD, "--data-dir", str(server.data_dir), "user", "lock", login]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode:
        print(f"  user lock: {done.stderr.strip()}", file=sys.stderr)
    return time.perf_counter() - started, done.returncode


class Memory:
    """Samples the server's memory on a thread."""

    def __init__(self, server):
        self.pid = server.process.pid
        self.before = self.peak = Figures([self.pid]).mib
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._sample)
        self.thread.start()

    def _sample(self):
        while not self.ended.wait(0.02):
            self.peak = max(self.peak, Figures([self.pid]).mib)

    def growth(self):
        return Figures([self.pid]).mib - self.before

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def measure(rows, names, stage):
    """The figures of these rows, one row after the other."""
    measured = []
    for name in names:
        print(f"{name}: … {rows[name].__doc__}", file=sys.stderr)
        figures = rows[name](stage)
        measured.append((name, figures))
        for figure in figures:
            print("  " + figure.row(name), file=sys.stderr)
    return measured


def table(rows, out=print):
    out("| while one member or stranger … | | figure | target | |")
    out("|---|---|---|---|---|")
    for name, figures in rows:
        for number, figure in enumerate(figures):
            out(figure.row(name if number == 0 else ""))


PEOPLE, MESSAGES = 200, 20_000


def show(rows, pace, keep):
    """Measures the rows and prints the table; whether all targets were met."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536, hard))
    measured = []
    print(f"preparing {PEOPLE} people and {MESSAGES} messages", file=sys.stderr)
    with Prepared(PEOPLE, MESSAGES) as prepared:
        stage = Stage(prepared, pace)
        for name in rows:
            measured += measure(rows, [name], stage)
    table(measured)
    missed = [(name, figure) for name, figures in measured for figure in figures if figure.missed]
    for name, figure in missed:
        print(f"missed: {name}: {figure.what}", file=sys.stderr)
    if keep:
        kept = [{"row": name, **vars(figure), "missed": figure.missed} for name, figures in measured for figure in figures]
        Path(keep).write_text(json.dumps({"cores": os.cpu_count(), "pace": pace, "figures": kept}, indent=1, ensure_ascii=False))
    return not missed
