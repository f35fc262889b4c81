"""What the others notice while one member or stranger takes all that it can: figures beside targets.

Each row has a server of its own with its defaults, on a copy of one prepared data directory, and an attacker in processes of
its own at the lowest priority (fair_attacks.py), so that what is measured is what the server gives it and not what the machine
does. Who suffers and who measures share the machine's cores with the server, which every figure includes."""

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import harness
from abuse import Figures
from calls import HISTORY, LOGIN, SEND, SUBSCRIBE, SUBSCRIBE_NOW, Caller, Loop, history_request, login_request, one_call, send_request
from prepared import PASSWORD, PlainServer, Prepared

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
        def shown(value):
            return f"{value:,.0f}" if isinstance(value, float) and value >= 100 else f"{value:.3g}" if isinstance(value, float) else f"{value}"
        target = f"≤ {shown(self.most)} {self.unit}" if self.most is not None else f"{self.exactly}" if self.exactly is not None else ""
        verdict = "MISSED" if self.missed else "met" if target else ""
        return f"| {name} | {self.what} | {shown(self.value)} {self.unit} | {target.strip()} | {verdict} |"


class Stage:
    """What the rows need. `pace` shortens all of them alike, for a trial of this program."""

    def __init__(self, prepared, pace=1.0):
        self.prepared, self.pace = prepared, pace
        self.people = prepared.people

    def seconds(self, number):
        return max(1.0, number * self.pace)

    @contextmanager
    def server(self, *flags, place=None, prefix=()):
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otpchat-share-")))
            place = place or scratch / "data"
            self.prepared.copy(place)
            # The copy has not seen the codes that other rows used.
            for person in self.people:
                person.phone.last_step = person.enrolled_in_step
            server = PlainServer(*flags, data_dir=place, log=scratch / "server.log")
            server.prefix = prefix
            yield stack.enter_context(server)

    @contextmanager
    def attack(self, name, server, seconds, **plan):
        """A running attack; its `report` is there once it has ended. It is not waited for any longer than it may take."""
        plan = {"attack": name, "address": server.at, "seconds": seconds, **plan}
        attacker = subprocess.Popen([sys.executable, HERE / "fair_attacks.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    text=True)
        attacker.report, attacker.stopped = None, False
        try:
            attacker.stdin.write(json.dumps(plan))
            attacker.stdin.close()
            yield attacker
            if attacker.stopped:
                return
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
        path, message = (SEND, send_request(f"слышно? {n}")) if n % self.one_message_in == 0 else (HISTORY, history_request(20))

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


# --- The rows. ---

def flood(stage):
    """floods messages, 64 calls in flight"""
    flooder, *others = stage.people[:5]
    locked = stage.people[5:8]
    with stage.server() as server, Loop() as loop:
        database = server.data_dir / "users.db"
        before = database.stat().st_size
        people = Others(loop, server, others)
        quiet = people.run(stage.seconds(5))
        seconds, locks, administrators = stage.seconds(60), [], []

        def lock(login):
            administrators.append(threading.Thread(target=lambda: locks.append(lock_user(server, login))))
            administrators[-1].start()
        with stage.attack("flood", server, seconds, token=flooder.token) as attacker:
            started = time.monotonic()
            for n, person in enumerate((*locked, flooder)):
                loop.at(started + seconds * (n + 1) / 4.5, lambda login=person.login: lock(login))
            calls = people.run(seconds + PATIENCE_S, lambda: attacker.poll() is not None)
        for one in administrators:
            one.join()
        server.stop()
        grown = (database.stat().st_size - before) / 1e6
    return [Figure("others without it: median", quantile(quiet, 0.5), "ms"),
            Figure("others: median", quantile(calls, 0.5), "ms", most=20.0),
            Figure("others: slowest", quantile(calls, 1), "ms", most=500.0),
            Figure("others: refused", refused(calls), exactly=0),
            Figure("the database grows by", grown, "MB", most=5.0),
            Figure("`user lock`: slowest", max(took for took, _ in locks), "s", most=1.0),
            Figure("`user lock`: failed", sum(code != 0 for _, code in locks), exactly=0),
            Figure("messages accepted", attacker.report["answered"])]


def _unread(stage, name):
    reader, *others = stage.people[:3]
    with stage.server() as server, Loop() as loop:
        people = Others(loop, server, others)
        people.run(stage.seconds(5))
        seconds = stage.seconds(60)
        with Memory(server) as memory, stage.attack(name, server, seconds + 3, token=reader.token) as attacker:
            calls = people.run(seconds)
            left = memory.growth()
        gone = memory.growth()
    return [Figure("the process grows by", memory.peak - memory.before, "MiB", most=128.0),
            Figure("after a minute it is above the start by", left, "MiB", most=64.0),
            Figure("once the attacker has gone", gone, "MiB"),
            Figure("others: slowest", quantile(calls, 1), "ms"), Figure("connections cut", attacker.report["cut"])]


def unread(stage):
    """asks for 5 × 1,000 pages and has no window for them"""
    return _unread(stage, "unread")


def unread_socket(stage):
    """the same, with a window, and never reads"""
    return _unread(stage, "unread_socket")


def replays(stage):
    """opens and replays 16 streams in a loop"""
    reader, *others = stage.people[:5]
    with stage.server() as server, Loop() as loop:
        people = Others(loop, server, others, pause=0.02, one_message_in=10)
        people.run(stage.seconds(2))
        without = quantile(people.run(stage.seconds(15)), 0.99)
        with stage.attack("replays", server, stage.seconds(20), token=reader.token) as attacker:
            calls = people.run(stage.seconds(20) + PATIENCE_S, lambda: attacker.poll() is not None)
    under = quantile(calls, 0.99)
    return [Figure("others without it: p99", without, "ms"), Figure("others: p99", under, "ms"),
            Figure("p99 by p99 without it", under / without, "×", most=2.0),
            Figure("others: median", quantile(calls, 0.5), "ms"), Figure("others: refused", refused(calls), exactly=0),
            Figure("replays that ended", attacker.report["replays"])]


def unknown_fields(stage):
    """sends 400 logins of 64 KiB of unknown fields"""
    with stage.server() as server:
        one_call(server.at, LOGIN, login_request("nobody", "wrong password"), source="127.0.0.66")
        with Memory(server) as memory, stage.attack("unknown_fields", server, 60) as attacker:
            attacker.wait(PATIENCE_S + 30)
    return [Figure("the process grows by", memory.peak - memory.before, "MiB", most=64.0),
            Figure("answered, of 400", attacker.report["answered"])]


def _passwords(stage, networks):
    honest = stage.people[:5]
    logins = [person.login for person in stage.people[:50]]
    times = []
    with stage.server(*PROXY) as server:
        for person in honest:
            before = one_call(server.at, LOGIN, login_request(person.login, PASSWORD, person.phone.early_code()), person.forwarded())
            assert harness.auth_pb2.LoginResponse.FromString(before.messages[0]).success, before.messages
        with stage.attack("passwords", server, 60, networks=networks, logins=logins) as attacker:
            time.sleep(stage.seconds(3))
            for person in honest:
                times.append(_time_to_get_in(server, person))
            # It has done enough.
            attacker.stopped = True
    return [Figure("gets in after, at worst", max(times), "s", most=2.0),
            Figure("in the median", statistics.median(times), "s")]


def _time_to_get_in(server, person):
    """With another try when told to, up to a limit."""
    started, code = time.perf_counter(), person.phone.early_code()
    while (took := time.perf_counter() - started) < PATIENCE_S / 2:
        call = one_call(server.at, LOGIN, login_request(person.login, PASSWORD, code), person.forwarded(), seconds=PATIENCE_S / 2)
        if call.answered and harness.auth_pb2.LoginResponse.FromString(call.messages[0]).success:
            return time.perf_counter() - started
        time.sleep(0.25)
    return took


def passwords_56(stage):
    """tries passwords from all /64 of one /56"""
    return _passwords(stage, [f"2001:db8:1:1{n:02x}::1" for n in range(256)])


def passwords_48(stage):
    """tries passwords from a /64 in each of 256 /48"""
    return _passwords(stage, [f"2001:db8:{n + 0x100:x}:7::1" for n in range(256)])


def passwords_ipv4(stage):
    """tries passwords from 256 IPv4 /24"""
    return _passwords(stage, [f"198.18.{n}.1" for n in range(256)])


def refusals(stage):
    """makes 5,000 refused calls a second"""
    victims, want = stage.people[:10], {}
    with stage.server() as server, ExitStack() as stack:
        seconds = stage.seconds(15)
        attackers = [stack.enter_context(stage.attack("refusals", server, seconds, rate=1_600, source=f"127.0.0.{66 + n}"))
                     for n in range(4)]
        time.sleep(1)
        began = time.monotonic()
        while time.monotonic() < began + seconds - 2:
            person = victims[len(want) % len(victims)] if len(want) < len(victims) else victims[sum(want.values()) % len(victims)]
            if want.get(person.login, 0) < 6:
                call = one_call(server.at, LOGIN, login_request(person.login, "wrong password"), source=f"127.0.2.{victims.index(person) + 1}")
                if call.answered and harness.auth_pb2.LoginResponse.FromString(call.messages[0]).reason == "INVALID_CREDENTIALS":
                    want[person.login] = want.get(person.login, 0) + 1
            elif sum(want.values()) >= 6 * len(victims):
                break
            time.sleep(0.05)
        stack.close()
        server.stop()
        log = server.log_text()
    rate = sum(attacker.report["per_second"] for attacker in attackers)
    found = {login: len(re.findall(rf'refused .*reason=INVALID_CREDENTIALS .*account="{login}"', log)) for login in want}
    return [Figure("wrong passwords of others that are not in the log, of " + str(sum(want.values())),
                   sum(max(0, count - found[login]) for login, count in want.items()), exactly=0),
            Figure("refused calls a second", rate), Figure("lines of the log", log.count("\n"))]


@contextmanager
def small_disk(stage):
    """A directory on a full disk: a small file system of its own for root, else a bound on the size of files. Yields the
    directory, the words before the program's, and what fills it."""
    size = sum(path.stat().st_size for path in stage.prepared.directory.rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory(prefix="otpchat-disk-") as place:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={2 * size + 2**25},mode=0700", "otpchat-disk", place],
                                 capture_output=True).returncode == 0
        limit = ("bash", "-c", f'trap "" XFSZ; ulimit -f {(size + 2**20) // 1024}; exec "$@"', "bash")

        def fill():
            if not mounted:
                return
            with open(Path(place) / "filler", "wb", buffering=0) as filler:
                try:
                    while filler.write(bytes(2**16)) > 0:
                        pass
                except OSError:
                    pass
        try:
            yield Path(place), () if mounted else limit, fill
        finally:
            if mounted:
                subprocess.run(["umount", place], check=True)


def full_disk(stage):
    """fills the disk"""
    victim, writer = stage.people[:2]
    with small_disk(stage) as (place, prefix, fill), stage.server(place=place, prefix=prefix) as server, Loop() as loop:
        listening = Caller(loop, server.at, (victim.header(),), "127.0.1.1")
        stream = listening.call(SUBSCRIBE, SUBSCRIBE_NOW)
        loop.run(time.monotonic() + 1)
        fill()
        writing = Caller(loop, server.at, (writer.header(),), "127.0.1.2")
        # What the server had reserved is used up as well.
        written, last = 0, None
        until = time.monotonic() + 60
        while time.monotonic() < until:
            last = writing.call(SEND, send_request("d" * 4_096))
            loop.run(time.monotonic() + PATIENCE_S, lambda one=last: one.took is not None)
            if not last.answered and "MESSAGE_RATE" not in str(last.refusal):
                break
            written += 1
        full = last is not None and not last.answered
        print(f"  the disk is full: {full}, after {written} messages: {last.refusal}", file=sys.stderr)
        assert full, "the disk could not be filled"
        started, outcome = time.perf_counter(), []
        administrator = threading.Thread(target=lambda: outcome.append(lock_user(server, victim.login)))
        administrator.start()
        ended = loop.run(time.monotonic() + 10, lambda: stream.took is not None)
        took = time.perf_counter() - started
        administrator.join()
        reading = Caller(loop, server.at, (victim.header(),), "127.0.1.1").call(HISTORY, history_request(1))
        loop.run(time.monotonic() + PATIENCE_S, lambda: reading.took is not None)
    return [Figure("`user lock` ends the streams after" + ("" if ended else " (never)"), took, "s", most=1.0),
            Figure("calls of that session still answered", int(reading.answered), exactly=0),
            Figure("`user lock` took", outcome[0][0], "s"), Figure("and ended with", outcome[0][1])]


ROWS = {function.__name__: function for function in (
    flood, unread, unread_socket, replays, unknown_fields, passwords_56, passwords_48, passwords_ipv4, refusals, full_disk)}


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
