"""The second factor cannot be skipped, and another account's cannot be reached. Each test is an attempt."""

import unittest

from base import PASSWORD, ServerCase
from harness import Authenticator


class Chat(ServerCase):
    """What a session may do before its code."""

    def test_no_chat_before_the_first_enrolment(self):
        login, peer = self.registered()
        waiting = peer.log_in(login, PASSWORD)
        self.assert_may_not_chat(peer, "SECOND_FACTOR_MISSING", waiting.token)
        self.assert_ok(peer.init_otp(login, waiting.token))
        self.assert_may_not_chat(peer, "SECOND_FACTOR_MISSING", waiting.token)

    def test_no_chat_before_the_code(self):
        login, phone, peer, _ = self.enrolled()
        waiting = self.assert_ok(peer.log_in(login, PASSWORD))
        self.assert_may_not_chat(peer, "SECOND_FACTOR_MISSING", waiting.token)
        self.assert_refused(peer.check_otp(login, phone.wrong_code(), waiting.token), "INVALID_CODE")
        self.assert_may_not_chat(peer, "SECOND_FACTOR_MISSING", waiting.token)
        done = self.assert_ok(peer.check_otp(login, phone.fresh_code(), waiting.token))
        self.assertTrue(done.valid)
        # The token of Login is good from now on, as the old client expects, and so is the one of CheckOtp.
        self.assert_may_chat(peer, waiting.token)
        self.assert_may_chat(peer, done.token)

    def test_login_with_the_code_in_it_opens_the_chat_at_once(self):
        login, phone, _, _ = self.enrolled()
        peer = self.peer()
        answer = self.assert_ok(peer.log_in(login, PASSWORD, phone.fresh_code()))
        self.assertTrue(answer.success)
        self.assert_may_chat(peer, answer.token)

    def test_login_with_a_wrong_code_opens_nothing(self):
        login, phone, _, _ = self.enrolled()
        self.assert_refused(self.peer().log_in(login, PASSWORD, phone.wrong_code()), "INVALID_CREDENTIALS")


class Codes(ServerCase):
    def test_a_code_works_once(self):
        login, phone, peer, _ = self.enrolled()
        code = phone.fresh_code()
        first, second = peer.log_in(login, PASSWORD), peer.log_in(login, PASSWORD)
        self.assert_ok(peer.check_otp(login, code, first.token))
        self.assert_refused(peer.check_otp(login, code, second.token), "CODE_ALREADY_USED")
        self.assert_may_not_chat(peer, "SECOND_FACTOR_MISSING", second.token)

    def test_the_code_that_confirms_the_enrolment_is_used_up(self):
        login, phone, peer, _ = self.enrolled()
        waiting = peer.log_in(login, PASSWORD)
        self.assert_refused(peer.check_otp(login, phone.last_code(), waiting.token), "CODE_ALREADY_USED")

    def test_an_older_code_than_the_last_one_is_used_up_with_it(self):
        login, phone, peer, _ = self.enrolled()
        older = phone.last_code()
        first, second = peer.log_in(login, PASSWORD), peer.log_in(login, PASSWORD)
        self.assert_ok(peer.check_otp(login, phone.fresh_code(), first.token))
        self.assert_refused(peer.check_otp(login, older, second.token), "CODE_ALREADY_USED")

    def test_codes_of_other_times_and_other_people_are_wrong(self):
        stranger = self.enrolled()[1]
        wrong = (lambda phone: phone.code_of(phone.last_step + 4), lambda phone: phone.code_of(phone.last_step - 4),
                 lambda phone: stranger.fresh_code())
        for code_of in wrong:
            # Wrong codes in a row would be delayed.
            login, phone, peer, _ = self.enrolled()
            waiting = peer.log_in(login, PASSWORD)
            # (One of them may by chance have the digits of a current code: once in some 100,000 runs.)
            self.assert_refused(peer.check_otp(login, code_of(phone), waiting.token), "INVALID_CODE")

    def test_what_is_not_six_digits_is_wrong(self):
        login, _, peer, _ = self.enrolled()
        waiting = peer.log_in(login, PASSWORD)
        for code in ("", "12345", "1234567", "abcdef", "１２３４５６", "-12345", "12 34 5", "0" * 10000):
            with self.subTest(code=code[:10]):
                self.assert_refused(peer.check_otp(login, code, waiting.token), "INVALID_CODE")


class Enrolment(ServerCase):
    """InitOtp is allowed in three situations only."""

    def test_the_connection_that_registered_may_without_a_token(self):
        login, peer = self.registered()
        phone = Authenticator(self.assert_ok(peer.init_otp(login)).secret)
        waiting = peer.log_in(login, PASSWORD)
        self.assert_ok(peer.check_otp(login, phone.fresh_code(), waiting.token))
        self.assert_may_chat(peer, waiting.token)

    def test_no_other_connection_may_without_a_token(self):
        login, _ = self.registered()
        self.assert_refused(self.peer().init_otp(login), "ENROLMENT_REFUSED")

    def test_nobody_may_for_a_login_that_is_not_there(self):
        self.assert_refused(self.peer().init_otp(self.new_login()), "ENROLMENT_REFUSED")

    def test_a_session_may_for_its_own_account_only(self):
        login, _ = self.registered()
        mine, peer = self.registered()
        waiting = peer.log_in(mine, PASSWORD)
        self.assert_refused(peer.init_otp(login, waiting.token), "ENROLMENT_REFUSED")

    def test_the_registering_connection_may_not_once_somebody_is_enrolled(self):
        login, phone, peer, token = self.enrolled()
        self.assert_refused(peer.init_otp(login), "ENROLMENT_REFUSED")
        self.assert_may_chat(peer, token)
        self.assert_ok(self.peer().log_in(login, PASSWORD, phone.fresh_code()))

    def test_a_session_that_owes_a_code_may_not(self):
        login, _, peer, _ = self.enrolled()
        waiting = peer.log_in(login, PASSWORD)
        self.assert_refused(peer.init_otp(login, waiting.token), "ENROLMENT_REFUSED")
        self.assert_refused(peer.init_otp(login, waiting.token, password=PASSWORD), "ENROLMENT_REFUSED")

    def test_a_complete_session_may_not_by_its_token_alone(self):
        login, phone, peer, token = self.enrolled()
        fields = ({}, {"password": PASSWORD}, {"password": PASSWORD, "otp": phone.last_code()},
                  {"password": PASSWORD, "otp": phone.wrong_code()})
        for given in fields:
            with self.subTest(given=sorted(given)):
                answer = peer.init_otp(login, token, **given)
                self.assertTrue(answer.error and answer.reason)
                self.assertEqual(answer.secret, "")

    def test_a_bad_token_is_no_way_around_the_missing_one(self):
        login, peer = self.registered()
        other = self.enrolled()[3]
        for tokens in (("rubbish",), ("",), (other,), (other, "rubbish")):
            with self.subTest(tokens=[token[:10] for token in tokens]):
                answer = peer.init_otp(login, *tokens)
                self.assertTrue(answer.error and answer.reason)
                self.assertEqual(answer.secret, "")

    def test_a_secret_counts_only_once_it_is_confirmed(self):
        login, peer = self.registered()
        first = Authenticator(self.assert_ok(peer.init_otp(login)).secret)
        second = Authenticator(self.assert_ok(peer.init_otp(login)).secret)
        self.assertNotEqual(first.secret(), second.secret())
        waiting = peer.log_in(login, PASSWORD)
        self.assert_refused(peer.check_otp(login, first.fresh_code(), waiting.token), "INVALID_CODE")
        self.assert_ok(peer.check_otp(login, second.fresh_code(), waiting.token))

    def test_the_loser_of_a_race_confirms_nothing(self):
        login, peer = self.registered()
        winner, loser = peer.log_in(login, PASSWORD), self.peer().log_in(login, PASSWORD)
        winners = Authenticator(self.assert_ok(peer.init_otp(login, winner.token)).secret)
        losers = Authenticator(self.assert_ok(peer.init_otp(login, loser.token)).secret)
        self.assert_ok(peer.check_otp(login, winners.fresh_code(), winner.token))
        answer = peer.check_otp(login, losers.fresh_code(), loser.token)
        self.assertFalse(answer.valid)
        self.assertTrue(answer.error and answer.reason)
        self.assertTrue(self.peer().log_in(login, PASSWORD, winners.fresh_code()).success)


class WithoutAToken(ServerCase):
    """CheckOtp as old clients call it: the one waiting session of that login on this connection."""

    def test_the_connection_of_the_login_may(self):
        login, phone, _, _ = self.enrolled()
        peer = self.peer()
        waiting = peer.log_in(login, PASSWORD)
        self.assert_ok(peer.check_otp(login, phone.fresh_code()))
        self.assert_may_chat(peer, waiting.token)

    def test_no_other_connection_may(self):
        login, phone, _, _ = self.enrolled()
        peer, thief = self.peer(), self.peer()
        waiting = peer.log_in(login, PASSWORD)
        code = phone.fresh_code()
        self.assert_refused(thief.check_otp(login, code), "INVALID_CODE")
        self.assert_may_not_chat(thief, "SECOND_FACTOR_MISSING", waiting.token)
        # Nothing was used up by the attempt.
        self.assert_ok(peer.check_otp(login, code))

    def test_the_login_must_be_the_one_that_waits(self):
        login, phone, _, _ = self.enrolled()
        other = self.enrolled()[0]
        peer = self.peer()
        peer.log_in(login, PASSWORD)
        self.assert_refused(peer.check_otp(other, phone.fresh_code()), "INVALID_CODE")

    def test_two_waiting_sessions_are_one_too_many(self):
        login, phone, _, _ = self.enrolled()
        peer = self.peer()
        first, _ = peer.log_in(login, PASSWORD), peer.log_in(login, PASSWORD)
        code = phone.fresh_code()
        self.assert_refused(peer.check_otp(login, code), "INVALID_CODE")
        self.assert_ok(peer.check_otp(login, code, first.token))

    def test_a_bad_token_does_not_fall_through(self):
        login, phone, _, mine = self.enrolled()
        stranger = self.enrolled()[3]
        peer = self.peer()
        waiting = peer.log_in(login, PASSWORD)
        code = phone.fresh_code()
        attempts = {"rubbish": ("rubbish",), "empty": ("",), "somebody else's": (stranger,),
                    "complete": (mine,), "two": (waiting.token, "rubbish"), "two real": (waiting.token, stranger)}
        for name, tokens in attempts.items():
            with self.subTest(name):
                answer = peer.check_otp(login, code, *tokens)
                self.assertTrue(answer.error and answer.reason and not answer.valid and not answer.token)
                self.assert_may_not_chat(peer, "SECOND_FACTOR_MISSING", waiting.token)
        self.assert_ok(peer.check_otp(login, code))

    def test_the_token_of_a_complete_session_is_no_way_to_guess(self):
        login, phone, peer, token = self.enrolled()
        for code in (phone.wrong_code(), phone.fresh_code()):
            answer = peer.check_otp(login, code, token)
            self.assertFalse(answer.valid)
            self.assertTrue(answer.error and answer.reason)

    def test_a_session_and_the_login_must_belong_together(self):
        login, phone, peer, _ = self.enrolled()
        other = self.enrolled()[0]
        waiting = peer.log_in(login, PASSWORD)
        answer = peer.check_otp(other, phone.fresh_code(), waiting.token)
        self.assertFalse(answer.valid)
        self.assertTrue(answer.error and answer.reason)


class LegacyOff(ServerCase):
    """With `--legacy-clients off` nothing works without a token."""

    flags = ("--legacy-clients", "off")

    def test_only_tokens_lead_on(self):
        login, peer = self.registered()
        self.assert_refused(peer.init_otp(login), "TOKEN_MISSING")
        waiting = peer.log_in(login, PASSWORD)
        phone = Authenticator(self.assert_ok(peer.init_otp(login, waiting.token)).secret)
        code = phone.fresh_code()
        self.assert_refused(peer.check_otp(login, code), "TOKEN_MISSING")
        self.assert_ok(peer.check_otp(login, code, waiting.token))
        self.assert_may_chat(peer, waiting.token)


if __name__ == "__main__":
    unittest.main()
