"""Honest use that comes near the bounds: nobody may notice one. Rows as in fair_share.py."""

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import harness
from calls import HISTORY, LOGIN, SEND, SUBSCRIBE, SUBSCRIBE_NOW, Caller, Loop, history_request, login_request, send_request
from fair_share import PATIENCE_S, PROXY, Figure, refused
from old_client import OldClient
from prepared import PASSWORD, texts_of

# One address for all.
OFFICE = ("x-forwarded-for", "203.0.113.7")
LINES_EACH = 3


def _verdict(calls, lost, *more):
    return [Figure("refused", refused(calls), exactly=0), Figure("lines lost", lost, exactly=0), Figure("calls", len(calls)),
            *more]


def office(stage):
    """(no harm) 200 people behind one address, two consoles each"""
    people = stage.people[:200]
    with stage.server(*PROXY) as server, Loop() as loop:
        calls, streams, said = [], [], []
        seconds = stage.seconds(30)

        def plain(caller, path, message, then=None):
            def ended(call):
                if then:
                    loop.at(0, lambda: then(call))
            calls.append(caller.call(path, message, then=ended))

        def console(token):
            """What a console does once it has a token."""
            caller = Caller(loop, server.at, (("token", token), OFFICE))
            streams.append(caller.call(SUBSCRIBE, SUBSCRIBE_NOW))
            plain(caller, HISTORY, history_request(20))
            return caller

        def second_console(person):
            """Logs in first."""
            def logged_in(call):
                answer = harness.auth_pb2.LoginResponse.FromString(call.messages[0]) if call.answered else None
                if answer is None or not answer.success:
                    # A refusal in an answer is one as well.
                    call.refusal, call.seen = f"{call.refusal} {answer}", 0
                    return
                console(answer.token)
            caller = Caller(loop, server.at, (OFFICE,))
            plain(caller, LOGIN, login_request(person.login, PASSWORD, person.phone.early_code()), logged_in)

        def say(caller, text):
            said.append(text)
            plain(caller, SEND, send_request(text))
        begun = time.monotonic()
        first = [console(person.token) for person in people]
        for n, person in enumerate(people):
            loop.at(begun + seconds * n / len(people), lambda one=person: second_console(one))
        loop.run(begun + seconds + 1)
        assert loop.run(time.monotonic() + PATIENCE_S, lambda: all(call.took is not None for call in calls))
        # All are there: each says a few lines.
        begun = time.monotonic()
        for line in range(LINES_EACH):
            for n, caller in enumerate(first):
                at = begun + stage.seconds(20) * (line * len(first) + n) / (LINES_EACH * len(first))
                loop.at(at, lambda who=caller, text=f"line {line} of {n}": say(who, text))
        loop.run(begun + stage.seconds(20) + 1)
        loop.run(time.monotonic() + 20, lambda: all(call.took is not None for call in calls))
        loop.run(time.monotonic() + 3)
        lost = sum(len(set(said) - set(texts_of(stream))) for stream in streams) + max(0, 2 * len(people) - len(streams))
        ended = [stream for stream in streams if stream.took is not None]
        logins = sorted(call.took for call in calls if call.path == LOGIN)
    return _verdict(calls + ended, lost, Figure("consoles", len(streams)), Figure("slowest login", logins[-1], "s"))


def bot(stage):
    """(no harm) a bot with 64 calls in flight, at the allowed rate"""
    person, reader = stage.people[:2]
    with stage.server() as server, Loop() as loop:
        stream = Caller(loop, server.at, (reader.header(),), "127.0.1.1").call(SUBSCRIBE, SUBSCRIBE_NOW)
        loop.run(time.monotonic() + 1)
        caller = Caller(loop, server.at, (person.header(),), "127.0.1.2")
        calls = []

        def send():
            calls.append(caller.call(SEND, send_request(f"bot {len(calls)}")))
        for _ in range(64):
            send()
        begun = time.monotonic()
        # Beyond the first 64, ten a second.
        for n in range(int(10 * stage.seconds(20))):
            loop.at(begun + 1.5 + n / 10, send)
        loop.run(begun + 2 + stage.seconds(20))
        loop.run(time.monotonic() + 20, lambda: all(call.took is not None for call in calls))
        loop.run(time.monotonic() + 2)
        lost = len(calls) - len(texts_of(stream))
    return _verdict(calls, lost, Figure("slowest", max(call.took for call in calls), "s"))


def paste(stage):
    """(no harm) a paste of 100 lines into the console"""
    person, reader = stage.people[:2]
    console = Path(harness.OTPCHATD).with_name("otpchat")
    if not console.exists():
        print(f"  no console beside {harness.OTPCHATD}", file=sys.stderr)
        return []
    lines = [f"pasted line {n}" for n in range(100)]
    with stage.server() as server, Loop() as loop, tempfile.TemporaryDirectory(prefix="otpchat-paste-") as home:
        stream = Caller(loop, server.at, (reader.header(),), "127.0.1.1").call(SUBSCRIBE, SUBSCRIBE_NOW)
        loop.run(time.monotonic() + 1)
        started = time.monotonic()
        typed = "\n".join(["/login", person.login, PASSWORD, person.phone.early_code(), *lines, ""])
        command = [console, "--server", server.address, "--lang", "en", "--qr-dir", home]
        done = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=120, env={"HOME": home}, cwd=home)
        took = time.monotonic() - started
        loop.run(time.monotonic() + 2)
        heard = texts_of(stream)
    if done.returncode:
        print(f"  otpchat: {done.stderr[-600:]}", file=sys.stderr)
    return [Figure("lines lost", len(lines) - len(set(lines) & set(heard)), exactly=0),
            Figure("in order, once", str(heard == lines), exactly="True"),
            Figure("the console ended with", done.returncode, exactly=0), Figure("it took", took, "s")]


def old_clients(stage):
    """(no harm) 20 clients of the predecessor; one pastes 100 lines"""
    people = stage.people[:20]
    with stage.server() as server:
        clients, listeners, said, failed = [], [], [], []
        try:
            for person in people:
                clients.append(OldClient(server.address))
                assert clients[-1].do_login(person.login, PASSWORD, person.phone.early_code), clients[-1].printed
                listeners.append(clients[-1].listen())
                listeners[-1].wait_until_subscribed(lambda: clients[-1].say("слышно?"))

            def talk(n, lines, pause):
                for line in range(lines):
                    try:
                        clients[n].say(f"{n}: {line}")
                        said.append(f"{n}: {line}")
                    except Exception as error:  # noqa: BLE001: told by the row
                        failed.append(str(error))
                    time.sleep(pause)
            pause = stage.seconds(10) / 20
            people_talk = [threading.Thread(target=talk, args=(n, 20, pause) if n else (n, 100, 0)) for n in range(len(clients))]
            for one in people_talk:
                one.start()
            for one in people_talk:
                one.join()
            lost = ended = 0
            for listener in listeners:
                heard, until = set(), time.monotonic() + 10
                while not set(said) <= heard and time.monotonic() < until:
                    try:
                        heard.add(listener.next(1).text)
                    except harness.queue.Empty:
                        continue
                lost += len(set(said) - heard)
                ended += not listener.end.empty()
        finally:
            for listener in listeners:
                listener.close()
            for client in clients:
                client.close()
    for why in failed[:1]:
        print(f"  refused: {why}", file=sys.stderr)
    return [Figure("lines refused", len(failed), exactly=0), Figure("lines lost", lost, exactly=0),
            Figure("streams that ended", ended, exactly=0), Figure("lines", len(said))]


ROWS = {function.__name__: function for function in (office, bot, paste, old_clients)}
