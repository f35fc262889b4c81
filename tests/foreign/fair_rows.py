"""What one member or stranger does, and what the others notice. A row's words go on after "while one member or stranger"."""

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
from calls import (HISTORY, LOGIN, SEND, SUBSCRIBE, SUBSCRIBE_NOW, Caller, Loop, history_request, login_request, one_call,
                   send_request)
from fair_share import PATIENCE_S, PROXY, Figure, Memory, Others, SlowLog, lock_user, quantile, refused
from prepared import PASSWORD


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
            request = login_request(person.login, PASSWORD, person.phone.early_code())
            before = one_call(server.at, LOGIN, request, person.forwarded())
            assert _login_answer(before).success, before.messages
        with stage.attack("passwords", server, 60, networks=networks, logins=logins) as attacker:
            began = time.monotonic()
            time.sleep(stage.seconds(3))
            for person in honest:
                times.append(_time_to_get_in(server, person))
            seconds = time.monotonic() - began
            attacker.terminate()
    return [Figure("gets in after, at worst", max(times), "s", most=2.0),
            Figure("in the median", statistics.median(times), "s"),
            Figure("answers to the attacker in a second", attacker.report["answered"] / seconds)]


def _login_answer(call):
    return harness.auth_pb2.LoginResponse.FromString(call.messages[0])


def _time_to_get_in(server, person):
    """With another try when told to, up to a limit."""
    started, code = time.perf_counter(), person.phone.fresh_code()
    while (took := time.perf_counter() - started) < PATIENCE_S / 2:
        request = login_request(person.login, PASSWORD, code)
        call = one_call(server.at, LOGIN, request, person.forwarded(), seconds=PATIENCE_S / 2)
        if call.answered and _login_answer(call).success:
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
    """makes 5,000 refused calls a second; the log's reader takes 1,000 lines"""
    victims, want = stage.people[:10], {}
    with SlowLog() as reader, stage.server(log=reader.path) as server, ExitStack() as stack:
        seconds = max(4.0, stage.seconds(15))
        attackers = [stack.enter_context(stage.attack("refusals", server, seconds, rate=1_600, source=f"127.0.0.{66 + n}"))
                     for n in range(4)]
        time.sleep(1)
        until = time.monotonic() + seconds - 1.5
        for n in range(60):
            place = n % len(victims)
            login = victims[place].login
            if time.monotonic() > until:
                break
            call = one_call(server.at, LOGIN, login_request(login, "wrong password"), source=f"127.0.2.{place + 1}")
            if call.answered and _login_answer(call).reason == "INVALID_CREDENTIALS":
                want[login] = want.get(login, 0) + 1
            time.sleep(seconds / 100)
        stack.close()
        server.stop()
        log = reader.text()
    assert want, "nobody else's wrong password was answered"
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
        # A write beyond the bound is then an error and no signal.
        prefix = ("sh", "-c", 'trap "" XFSZ; exec "$@"', "sh")

        def fill(server):
            if not mounted:
                resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (4_096, 4_096))
                return
            with open(Path(place) / "filler", "wb", buffering=0) as filler:
                try:
                    while filler.write(bytes(2**16)) > 0:
                        pass
                except OSError:
                    pass
        try:
            yield Path(place), () if mounted else prefix, fill
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
        fill(server)
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
