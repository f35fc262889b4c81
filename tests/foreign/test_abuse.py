"""HTTP/2 abuse in short form: the server goes on, the honest user is served, the attacker is cut off where that is promised,
and its memory is freed. No assertion is about time; the table is for people."""

import os
import resource
import sys
import time
import unittest

import abuse
import http2
from base import ServerCase
from harness import CALL_S
from nginx import Nginx

SECONDS = 2
CROWD = 700
FLAGS = ("--handshake-seconds", "1", "--max-connections", "500", "--chat-log", "off")
ENHANCE_YOUR_CALM = 11
MEMORY_MIB = 256


class Abuse(ServerCase):
    flags = FLAGS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.rows = []
        cls.scene = abuse.Scene(cls("new_login"))

    @classmethod
    def tearDownClass(cls):
        abuse.table(cls.rows, lambda line: print(line, file=sys.stderr))
        cls.scene.case.doCleanups()

    def under(self, name, seconds=SECONDS, connections=CROWD):
        row = self.scene.under(name, seconds, connections)
        self.rows.append(row)
        self.assertIsNone(self.server.process.poll(), "the server lives")
        before, _, after = row["fds"]
        self.assertLessEqual(after, before + 16, "descriptors come back")
        return row

    def twice_if_costly(self, name):
        """The allocator keeps memory that it once had; but a second attack then needs no more than that."""
        grown = 0
        for _ in range(3):
            row = self.under(name)
            grown = row["mib"][2] - row["mib"][0]
            if grown < MEMORY_MIB:
                return
        self.fail(f"{grown} MiB more each time")

    def test_a_quiet_minute_for_comparison(self):
        self.rows.insert(0, self.scene.quiet(SECONDS))


def short_form(name):
    def test(self):
        self.twice_if_costly(name)
    return test


for _name in abuse.ATTACKS:
    setattr(Abuse, f"test_{_name}", short_form(_name))


class OutOfDescriptors(ServerCase):
    """Without free descriptors the C core goes on, and serves again once some are free."""
    flags = ("--handshake-seconds", "1", "--chat-log", "off")

    def test_the_server_lives_and_takes_newcomers_again(self):
        scene = abuse.Scene(self)
        pid = self.server.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        room = len(os.listdir(f"/proc/{pid}/fd")) + 40
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (room, hard))
        row = scene.under("half_open", 4, 300)
        abuse.table([row], lambda line: print(line, file=sys.stderr))
        self.assertGreaterEqual(row["fds"][1], room - 8, "the attack took what there was")
        self.assertLessEqual(row["fds"][2], row["fds"][0] + 16)
        login, phone, peer, _ = self.enrolled()
        self.assertTrue(peer.log_in(login, abuse.PASSWORD, phone.fresh_code()).success)


class CutOff(ServerCase):
    """Attackers are cut off where that is promised, and the log names their addresses."""
    flags = ("--handshake-seconds", "1", "--max-connections", "100", "--max-calls-per-connection", "50", "--chat-log", "off")

    def attack(self, name, connections=4, seconds=4):
        return abuse.ATTACKS[name](("127.0.0.1", self.server.port), seconds, connections)

    def assert_all_cut(self, name, **how):
        report = self.attack(name, **how)
        self.assertEqual(report["cut"], report["connections"], report)
        return report

    def test_connections_that_do_not_introduce_themselves(self):
        self.assert_all_cut("half_open", connections=20)
        self.assert_all_cut("preface_only", connections=20)

    def test_connections_beyond_their_number(self):
        report = self.attack("idle_connections", connections=150, seconds=2)
        self.assertGreaterEqual(report["cut"], 50, report)
        self.assertLess(report["cut"], 150, "those within it stay")
        self.assertIn("reason=TOO_MANY_CONNECTIONS", self.server.log_text())

    def test_pings_by_the_thousand(self):
        self.assertEqual(self.attack("ping_flood", seconds=1)["goaways"], [ENHANCE_YOUR_CALM])

    def test_calls_beyond_their_number_whatever_was_agreed(self):
        self.assert_all_cut("unfinished_streams_beyond")
        self.assert_all_cut("unfinished_streams_unacknowledged")

    def test_calls_whose_message_does_not_come(self):
        def held(connection):
            return b"" if connection.next_stream > 60 else http2.frame(
                http2.HEADERS, http2.END_HEADERS, connection.stream(), http2.request(abuse.SEND_PATH))
        one = http2.Connection(("127.0.0.1", self.server.port)).introduce()
        http2.pump([one], time.monotonic() + CALL_S, held)
        self.assertTrue(one.closed, "thirty calls are within the number, but not for ever")

    def test_honest_connections_stay(self):
        scene = abuse.Scene(self)
        self.attack("unfinished_streams_unacknowledged")
        self.attack("idle_connections", connections=150, seconds=2)
        scene.quiet(1)
        self.assertTrue(scene.honest.listener.end.empty(), "his stream was not cut")


def show(names, seconds, connections, through_nginx):
    """The long form: the same against a server with its defaults, without assertions; whether it went to its end."""
    class Scenery(ServerCase):
        flags = ("--chat-log", "off", *(("--trusted-proxy", "127.0.0.1", "--registration", "open") if through_nginx else ()))

        def runTest(self):
            nginx = self.enterContext(Nginx(self.server.port, tls=False)) if through_nginx else None
            if nginx:
                self.server.port, direct = nginx.port, self.server.port
                self.addCleanup(setattr, self.server, "port", direct)
            scene = abuse.Scene(self, nginx.pids(), pause=0.1) if nginx else abuse.Scene(self)
            rows = [scene.quiet(seconds)]
            for name in names:
                rows.append(scene.under(name, seconds, connections))
                abuse.table(rows[-1:])
            print()
            abuse.table(rows)
    return unittest.TextTestRunner().run(unittest.TestSuite([Scenery()])).wasSuccessful()


if __name__ == "__main__":
    unittest.main()
