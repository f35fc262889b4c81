"""HTTP/2 abuse in short form: the server lives, the honest user is served, the abuser is cut off where that is promised,
and what he took comes back. No assertion is about time; the table is for people."""

import sys
import unittest

import abuse
from base import ServerCase

SECONDS = 2
CROWD = 700
FLAGS = ("--handshake-seconds", "1", "--max-connections", "500", "--chat-log", "off")
ENHANCE_YOUR_CALM = 11
# Beside what the attack itself needs, the C core's allocator keeps some of what it had.
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
        self.assertLess(row["mib"][2], row["mib"][0] + MEMORY_MIB, "memory comes back")
        return row

    def test_a_quiet_minute_for_comparison(self):
        self.rows.insert(0, self.scene.quiet(SECONDS))


def short_form(name):
    def test(self):
        self.under(name)
    return test


for _name in abuse.ATTACKS:
    setattr(Abuse, f"test_{_name}", short_form(_name))


def show(names, seconds, connections, nginx):
    """The long form: the same against a server with its defaults, without assertions."""
    class Scenery(ServerCase):
        flags = ("--chat-log", "off")

        def runTest(self):
            scene = abuse.Scene(self)
            rows = [scene.quiet(seconds)]
            for name in names:
                rows.append(scene.under(name, seconds, connections))
                abuse.table(rows[-1:])
            print()
            abuse.table(rows)
    result = unittest.TextTestRunner().run(unittest.TestSuite([Scenery()]))
    sys.exit(not result.wasSuccessful())


if __name__ == "__main__":
    unittest.main()
