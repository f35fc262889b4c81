"""A users.db of the predecessor: its users keep their password and their authenticator entry, and nothing is left in the
clear."""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
import unittest
from pathlib import Path

import pyotp

from base import PASSWORD
from harness import OTPCHATD, START_S, Authenticator, Peer, Server
from old_client import OldClient

# What the predecessor allowed: a short password, a login of one letter.
PEOPLE = {"ann": "correct horse", "боб": "пароль", "c": "123"}


class OldDatabase(unittest.TestCase):
    def setUp(self):
        self.dir = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="otpchat-old-")))

    def make_database(self, rows):
        """rows: (login, password, secret)"""
        with contextlib.closing(sqlite3.connect(self.dir / "users.db")) as db:
            db.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, login TEXT UNIQUE, password_hash TEXT, secret TEXT)")
            db.executemany("INSERT INTO users (login, password_hash, secret) VALUES (?, ?, ?)",
                           [(login, hash_of(password), secret) for login, password, secret in rows])
            db.commit()

    def peer(self, server):
        peer = Peer(server.address)
        self.addCleanup(peer.close)
        return peer

    def test_the_same_people_log_in_with_the_same_password_and_authenticator(self):
        secrets = {login: pyotp.random_base32() for login in PEOPLE}
        self.make_database([(login, password, secrets[login]) for login, password in PEOPLE.items()])
        with Server(data_dir=self.dir) as server:
            for login, password in PEOPLE.items():
                phone = Authenticator(pyotp.TOTP(secrets[login]).provisioning_uri(name=login))
                client = OldClient(server.address)
                self.addCleanup(client.close)
                self.assertFalse(client.do_login(login, password + "x", phone.fresh_code), login)
                self.assertTrue(client.do_login(login, password, phone.fresh_code), client.printed)
                self.assertTrue(client.say("на связи").success)
                # Once more: the first login replaced the wrapped hash.
                answer = self.peer(server).log_in(login, password, phone.fresh_code())
                self.assertTrue(answer.success, answer.error)
            # The old hash, which may be known from an earlier copy of the database, is not accepted as a password.
            answer = self.peer(server).log_in("ann", hash_of(PEOPLE["ann"]))
            self.assertFalse(answer.success)
            server.stop()
        with Server(data_dir=self.dir) as server:
            self.assertTrue(self.peer(server).log_in("ann", PEOPLE["ann"]).success)

    def test_nothing_that_was_in_the_clear_is_left_but_in_the_copy(self):
        secrets = {login: pyotp.random_base32() for login in PEOPLE}
        self.make_database([(login, password, secrets[login]) for login, password in PEOPLE.items()])
        original = (self.dir / "users.db").read_bytes()
        with Server(data_dir=self.dir) as server:
            self.assert_no_trace(secrets, original)
            log = server.log_text()
            server.stop()
        copy = self.assert_no_trace(secrets, original)
        self.assertEqual(copy.stat().st_mode & 0o777, 0o600)
        self.assertIn(copy.name, log)

    def test_what_is_still_in_the_old_log_comes_along(self):
        secrets = {login: pyotp.random_base32() for login in PEOPLE}
        with tempfile.TemporaryDirectory(prefix="otpchat-old-") as elsewhere:
            for name in self.copy_of_a_killed_server(Path(elsewhere), secrets):
                shutil.copy(name, self.dir)
        self.assertIn(secrets["ann"].encode(), (self.dir / "users.db-wal").read_bytes())
        with Server(data_dir=self.dir) as server:
            phone = Authenticator(pyotp.TOTP(secrets["ann"]).provisioning_uri(name="ann"))
            self.assertTrue(self.peer(server).log_in("ann", PEOPLE["ann"], phone.fresh_code()).success)
            server.stop()
        for path in filter(Path.is_file, self.dir.iterdir()):
            if ".before-upgrade" not in path.name:
                self.assertNotIn(secrets["ann"].encode(), path.read_bytes(), path.name)

    def copy_of_a_killed_server(self, elsewhere, secrets):
        """The files of a database whose newest rows are in its write-ahead log only."""
        path = elsewhere / "users.db"
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, login TEXT UNIQUE, password_hash TEXT, secret TEXT)")
            db.executemany("INSERT INTO users (login, password_hash, secret) VALUES (?, ?, ?)",
                           [(login, hash_of(password), secrets[login]) for login, password in PEOPLE.items()])
            db.commit()
            yield from (path, elsewhere / "users.db-wal")

    def assert_no_trace(self, secrets, original):
        """Looks through every file; returns the one that equals the old database byte for byte, which is the copy."""
        traces = [hash_of(password).encode() for password in PEOPLE.values()]
        traces += [bytes.fromhex(trace.decode()) for trace in traces]
        traces += [secret.encode() for secret in secrets.values()]
        traces += [pyotp.TOTP(secret).byte_secret() for secret in secrets.values()]
        copies = []
        for path in sorted(self.dir.rglob("*")):
            content = path.read_bytes() if path.is_file() else b""
            if content == original:
                copies.append(path)
                continue
            for trace in traces:
                self.assertNotIn(trace, content, path.name)
                self.assertNotIn(trace.lower(), content.lower(), path.name)
        self.assertEqual(len(copies), 1, "one copy of the old database")
        return copies[0]

    def test_without_a_readable_secret_an_account_waits_for_the_administrator(self):
        bad = {"none": None, "empty": "", "rubbish": "not base32!"}
        self.make_database([(login, PASSWORD, secret) for login, secret in bad.items()])
        with Server(data_dir=self.dir) as server:
            for login in bad:
                peer = self.peer(server)
                waiting = peer.log_in(login, PASSWORD)
                self.assertTrue(waiting.success or waiting.reason == "ENROLMENT_CODE_REQUIRED", waiting)
                tokens = [waiting.token] if waiting.token else []
                for answer in (peer.init_otp(login, *tokens), peer.init_otp(login)):
                    self.assertEqual(answer.secret, "", login)
                    self.assertTrue(answer.error, login)

    def test_names_that_would_be_the_same_today_stop_it_untouched(self):
        secret = pyotp.random_base32()
        self.make_database([("Bob", PASSWORD, secret), ("bob", PASSWORD, secret), ("ann", PASSWORD, secret)])
        before = (self.dir / "users.db").read_bytes()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OTPCHAT_")}
        ended = subprocess.run([OTPCHATD, "--listen", "localhost:0", "--data-dir", self.dir], env=environment,
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_S)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        self.assertIn("Bob", ended.stderr)
        self.assertIn("bob", ended.stderr)
        self.assertNotIn("ann", ended.stderr)
        self.assertEqual((self.dir / "users.db").read_bytes(), before)


def hash_of(password):
    """How the predecessor kept passwords."""
    return hashlib.sha256(password.encode()).hexdigest()


if __name__ == "__main__":
    unittest.main()
