"""A data directory with people whose sessions are complete and with a filled history, made once and copied for each
measurement, so that the measured servers need no flag that makes the making quick."""

import shutil
import sqlite3
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import harness
import messaging_pb2
from calls import SEND, Caller, Loop, send_request
from harness import CALL_S, Authenticator, Peer, Server

PASSWORD = "верный конь 7"
TEN_DAYS_US = 10 * 24 * 3600 * 1_000_000
# Of the history, the share of messages that are nearly as long as a message may be.
LONG_ONE_IN = 10
SHORT, LONG = 200, 4_000
# No bound may slow the making down. A flag that an older server does not know is left out.
GENEROUS = {"--messages-per-second": "0", "--max-calls-per-person": "0", "--registrations-per-address": "100000",
            "--chat-log": "off", "--registration": "open", "--trusted-proxy": "127.0.0.1"}


class PlainServer(Server):
    """A server with its defaults, but for where it listens."""
    own_flags = ()
    host = "127.0.0.1"

    @property
    def at(self):
        return self.host, self.port


@dataclass
class Person:
    login: str
    address: str
    phone: Authenticator
    token: str
    enrolled_in_step: int

    def header(self):
        return "token", self.token

    def forwarded(self):
        """What a proxy adds for this person."""
        return "x-forwarded-for", self.address


def _join(server_address, n):
    """Registers and enrols somebody from an address of their own."""
    login, address = f"person{n}", f"192.0.{n // 250 + 2}.{n % 250 + 1}"
    peer = Peer(server_address)
    try:
        def from_there(*tokens):
            return [("x-forwarded-for", address), *(("token", token) for token in tokens)]
        answer = peer.register(login, PASSWORD, metadata=from_there())
        assert answer.success, answer
        token = peer.log_in(login, PASSWORD, metadata=from_there()).token
        picture = peer.otp.InitOtp(harness.otp_pb2.RequestInitOtp(login=login), timeout=CALL_S, metadata=from_there(token))
        phone = Authenticator(picture.secret)
        code = harness.otp_pb2.RequestCheckOtp(login=login, otp=phone.early_code())
        done = peer.otp.CheckOtp(code, timeout=CALL_S, metadata=from_there(token))
        assert done.valid, done
        return Person(login, address, phone, done.token or token, phone.last_step)
    finally:
        peer.close()


def _say(server, people, count):
    """Fills the history."""
    with Loop() as loop:
        callers = [Caller(loop, server.at, (person.header(),)) for person in people[:8]]
        left, done = [count], []

        def say(caller):
            if left[0] > 0:
                left[0] -= 1
                size = LONG if left[0] % LONG_ONE_IN == 0 else SHORT
                caller.call(SEND, send_request("h" * size), then=lambda call: finished(caller, call))

        def finished(caller, call):
            assert call.answered, call.refusal
            done.append(1)
            loop.at(0, lambda: say(caller))
        for n in range(64):
            say(callers[n % len(callers)])
        assert loop.run(time.monotonic() + 120, lambda: len(done) == count), "the history was not filled in time"


class Prepared:
    """`with Prepared(people, messages) as prepared: ... prepared.copy(into)`"""

    def __init__(self, people, messages):
        self.temporary = tempfile.TemporaryDirectory(prefix="otpchat-prepared-")
        self.directory = Path(self.temporary.name) / "data"
        self.directory.mkdir(mode=0o700)
        help_text = subprocess.run([harness.OTPCHATD, "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
        flags = [word for flag, value in GENEROUS.items() if flag in help_text for word in (flag, value)]
        with PlainServer(*flags, data_dir=self.directory) as server, ThreadPoolExecutor(8) as pool:
            self.people = list(pool.map(lambda n: _join(server.address, n), range(people)))
            _say(server, self.people, messages)
        (self.directory / "server.log").unlink()
        self._age()

    def _age(self):
        """Makes the accounts older than a day: those of today may be trusted less."""
        with closing(sqlite3.connect(self.directory / "users.db", isolation_level=None)) as database:
            database.execute("UPDATE users SET created_at = created_at - ?1, enrolled_at = enrolled_at - ?1", (TEN_DAYS_US,))
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def copy(self, into):
        shutil.copytree(self.directory, into, dirs_exist_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.temporary.cleanup()


def texts_of(call):
    """The texts that a Subscribe heard, in order."""
    return [event.message.text for batch in call.messages for event in messaging_pb2.EventBatch.FromString(batch).events
            if event.HasField("message")]
