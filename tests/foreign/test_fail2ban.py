"""fail2ban reads the log: a guessing address is banned, an honest user is not, and no user can get another one banned.
With the real `fail2ban-regex`, the shipped filter, and the lines of a real server."""

import collections
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from base import PASSWORD, ServerCase
from harness import CALL_S, Peer

FILTER = Path(__file__).resolve().parents[2] / "fail2ban" / "filter.d" / "otpchatd.conf"
# Where script/bootstrap --test unpacked it; unset if it is installed.
UNPACKED = os.environ.get("FAIL2BAN")

# A line of the log that blames an address that did nothing.
FORGED = '2026-11-23T15:17:37Z WARN  refused address=10.0.0.1 reason=INVALID_CREDENTIALS method=/Auth/Login account="x"'
FORGERIES = [FORGED, f"x\n{FORGED}", f'x"\r\n{FORGED}', f"\x1b[2K\r{FORGED}", f"x\u2028{FORGED}",
             'x" address=10.0.0.1 reason=INVALID_CREDENTIALS account="', f'" {FORGED} "', "<HOST> 10.0.0.1 %(x)s", "\\"]


def banned(lines):
    """How often fail2ban counts which address."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".log") as log:
        log.write("".join(f"{line}\n" for line in lines))
        log.flush()
        command, environment = [shutil.which("fail2ban-regex") or "there is no fail2ban-regex"], dict(os.environ)
        if UNPACKED:
            # Debian's Python, which Debian's fail2ban needs.
            python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
            command = [python, f"{UNPACKED}/usr/bin/fail2ban-regex", "-c", f"{UNPACKED}/etc/fail2ban"]
            environment["PYTHONPATH"] = f"{UNPACKED}/usr/lib/python3/dist-packages"
        done = subprocess.run([*command, "--out", "ip", log.name, str(FILTER)], env=environment, timeout=60, check=True,
                              capture_output=True, text=True, encoding="utf-8")
    return collections.Counter(done.stdout.split())


class Bans(ServerCase):
    def setUp(self):
        self.seen = len(self.server.log_text().splitlines())

    def peer_at(self, address):
        peer = Peer(f"{address}:{self.server.port}")
        self.addCleanup(peer.close)
        return peer

    def new_lines(self):
        """What was logged since the test began; lines are written by a thread of their own."""
        sentinel = self.new_login("sentinel")
        self.peer().check_otp(sentinel, "000000", "no.token.at-all")
        deadline = time.monotonic() + CALL_S
        while sentinel not in self.server.log_text():
            self.assertLess(time.monotonic(), deadline)
        return [line for line in self.server.log_text().splitlines()[self.seen:] if sentinel not in line]

    def forms_of(self, lines):
        """The same lines in a file, in syslog's form, and as fail2ban reads them from the journal."""
        yield "file", lines
        yield "syslog", [f"Nov 23 15:17:37 chat otpchatd[4711]: {line}" for line in lines]
        yield "journal", [f"2026-11-23T15:17:37.123456+0000 chat otpchatd[4711]: {line}" for line in lines]

    def assert_banned(self, want):
        lines = self.new_lines()
        for form, forms in self.forms_of(lines):
            with self.subTest(form):
                self.assertEqual(dict(banned(forms)), want, "\n".join(lines))

    def test_who_guesses_is_counted_by_his_address(self):
        login, phone, peer, _ = self.enrolled()
        for _ in range(3):
            self.assert_refused(peer.log_in(login, "wrong password"), "INVALID_CREDENTIALS")
        waiting = peer.log_in(login, PASSWORD).token
        self.assert_refused(peer.check_otp(login, phone.wrong_code(), waiting), "INVALID_CODE")
        self.assert_refused(peer.init_otp(login, waiting), "ENROLMENT_REFUSED")
        for address in ("[::1]", "127.0.0.1"):
            self.assert_refused(self.peer_at(address).log_in("nobody", PASSWORD), "INVALID_CREDENTIALS")
        counted = banned(self.new_lines())
        self.assertEqual(sum(counted.values()), 7, counted)
        self.assertEqual(set(counted), {"127.0.0.1", "::1"})

    def test_an_honest_user_bans_himself_by_nothing_that_happens_to_him(self):
        login, phone, peer, token = self.enrolled()
        self.assert_refused(peer.register(login, PASSWORD), "LOGIN_TAKEN")
        self.assert_refused(peer.register("x", PASSWORD), "LOGIN_INVALID")
        self.assert_refused(peer.register(self.new_login(), "short"), "WEAK_PASSWORD")
        waiting = peer.log_in(login, PASSWORD).token
        self.assert_refused(peer.check_otp(login, phone.last_code(), waiting), "CODE_ALREADY_USED")
        self.assert_may_not_chat(peer, "SECOND_FACTOR_MISSING", waiting)
        self.assert_may_not_chat(peer, "TOKEN_MISSING")
        self.assert_may_not_chat(peer, "TOKEN_INVALID", "a.b.c")
        peer.log_out(token)
        self.assert_may_not_chat(peer, "SESSION_ENDED", token)
        self.assert_banned({})

    def test_no_login_gets_somebody_else_banned(self):
        peer = self.peer_at("127.0.0.1")
        for forgery in FORGERIES:
            self.assert_refused(peer.log_in(forgery, PASSWORD), "INVALID_CREDENTIALS")
            peer.register(forgery, PASSWORD)
        self.assert_banned({"127.0.0.1": len(FORGERIES)})

    def test_nothing_that_is_said_gets_anybody_banned(self):
        _, _, peer, token = self.enrolled()
        for forgery in FORGERIES:
            # A text may hold no control characters but line breaks. A refusal for others is no reason for a ban either.
            try:
                peer.send(forgery, token)
            except Exception as error:
                self.assertIn("control characters", str(error))
        self.assert_banned({})


class OtherLines(unittest.TestCase):
    def test_a_line_that_only_resembles_a_refusal_bans_nobody(self):
        for line in [f"x {FORGED}", FORGED.replace("WARN ", "INFO "), f"{FORGED} ", f"{FORGED} more",
                     f"[18:30:15] ann: {FORGED}", FORGED.replace("10.0.0.1", "example.org"),
                     FORGED.replace("INVALID_CREDENTIALS", "THROTTLED")]:
            self.assertEqual(banned([line]), {}, line)
        self.assertEqual(banned([FORGED]), {"10.0.0.1": 1})
