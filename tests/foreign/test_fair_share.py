"""The rows of fair share in short form: that nothing is refused or lost that should not be, and what is kept in memory. No
assertion is about time: the table of `script/foreign --abuse` is."""

import unittest

import fair_rows
import fair_share
import no_harm
from prepared import Prepared

PEOPLE, MESSAGES, PACE = 24, 1_000, 0.05
TIMES = ("s", "ms", "×")
ROWS = {**fair_rows.ROWS, **no_harm.ROWS}
# One of its kind is enough, and a paste takes as long as the rate makes it.
LEFT_OUT = {"unread_socket", "passwords_48", "passwords_ipv4", "paste"}
# These run, and their targets are missed today (docs/security.md).
NOT_MET = {"full_disk", "refusals"}


class FairShare(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stage = fair_share.Stage(cls.enterClassContext(Prepared(PEOPLE, MESSAGES)), PACE)

    def figures(self, name):
        (_, figures), = fair_share.measure(ROWS, [name], self.stage)
        return figures


def short_form(name):
    def test(self):
        figures = self.figures(name)
        self.assertTrue(figures)
        for figure in figures:
            if figure.unit not in TIMES and name not in NOT_MET:
                self.assertFalse(figure.missed, figure.row(name))
    return test


for _name in ROWS.keys() - LEFT_OUT:
    setattr(FairShare, f"test_{_name}", short_form(_name))


class Figures(unittest.TestCase):
    def test_a_target_is_missed_beyond_it_only(self):
        most, exactly = fair_share.Figure("x", 2.0, "s", most=2.0), fair_share.Figure("x", 1, exactly=0)
        self.assertFalse(most.missed)
        self.assertTrue(fair_share.Figure("x", 2.1, "s", most=2.0).missed)
        self.assertTrue(exactly.missed)
        self.assertFalse(fair_share.Figure("told only", 10**9).missed)
        self.assertIn("MISSED", exactly.row("row"))


if __name__ == "__main__":
    unittest.main()
