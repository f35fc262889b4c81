"""How calls are refused: the four old ones in their response, all others by a status with details."""

import base64
import hashlib
import hmac
import json
import time
import unittest
import warnings

import grpc
import jwt

from base import PASSWORD, ServerCase
from harness import CALL_S, broken_fields

import auth_pb2
import otp_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT


class Tokens(ServerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls("enrolled")
        cls.login, _, peer, cls.token = case.enrolled()
        cls.addClassCleanup(peer.close)
        cls.key = (cls.server.data_dir / "jwt.key").read_bytes()
        cls.claims = jwt.decode(cls.token, options={"verify_signature": False})

    def forged(self, key=None, algorithm="HS256", **changes):
        claims = {name: value for name, value in {**self.claims, **changes}.items() if value is not None}
        with warnings.catch_warnings():
            # The key is short for HS512, which does not matter here.
            warnings.simplefilter("ignore")
            return jwt.encode(claims, self.key if key is None else key, algorithm=algorithm)

    def test_no_token(self):
        self.assert_may_not_chat(self.peer(), "TOKEN_MISSING")

    def test_what_is_no_token(self):
        for token in ("", "rubbish", "a.b.c", "..", self.token[:-2], self.token + "A", self.token + "." + self.token,
                      "Bearer " + self.token, "x" * 5000):
            with self.subTest(token=token[:20]):
                self.assert_may_not_chat(self.peer(), "TOKEN_INVALID", token)

    def test_two_different_tokens(self):
        other = self.enrolled()[3]
        for tokens in ((self.token, "rubbish"), ("rubbish", self.token), (self.token, other)):
            self.assert_may_not_chat(self.peer(), "TOKEN_INVALID", *tokens)

    def test_a_signature_by_nobody(self):
        def part(data):
            return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()

        for algorithm in ("none", "None", "NONE", "nOnE"):
            head = part({"alg": algorithm, "typ": "JWT"})
            for signature in ("", self.token.split(".")[2]):
                self.assert_may_not_chat(self.peer(), "TOKEN_INVALID", f"{head}.{part(self.claims)}.{signature}")

    def test_a_changed_payload_under_the_old_signature(self):
        other = self.enrolled()[3]
        mine, theirs = self.token.split("."), other.split(".")
        self.assert_may_not_chat(self.peer(), "TOKEN_INVALID", ".".join((mine[0], theirs[1], mine[2])))

    def test_another_key(self):
        for key in (bytes(32), bytes(range(32)), b"secret" * 8, hashlib.sha256(self.key).digest()):
            self.assert_may_not_chat(self.peer(), "TOKEN_INVALID", self.forged(key=key))

    def test_another_algorithm_with_the_right_key(self):
        self.assert_may_not_chat(self.peer(), "TOKEN_INVALID", self.forged(algorithm="HS512"))
        # HS512's signature under a header that says HS256.
        head, body, _ = self.token.split(".")
        digest = hmac.new(self.key, f"{head}.{body}".encode(), hashlib.sha512).digest()
        signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        self.assert_may_not_chat(self.peer(), "TOKEN_INVALID", f"{head}.{body}.{signature}")

    def test_an_expired_one(self):
        self.assert_may_not_chat(self.peer(), "SESSION_ENDED", self.forged(exp=int(time.time()) - 1))

    def test_one_for_a_session_that_is_not_there(self):
        self.assert_may_not_chat(self.peer(), "SESSION_ENDED", self.forged(sid="0" * len(self.claims["sid"])))

    def test_claims_that_do_not_fit_the_session(self):
        stranger, _, peer, token = self.enrolled()
        theirs = jwt.decode(token, options={"verify_signature": False})
        for changes in ({"login": stranger, "user_id": theirs["user_id"]}, {"user_id": theirs["user_id"]},
                        {"iss": "somebody"}, {"iss": None}, {"sid": None}, {"sid": ""}, {"exp": None}):
            with self.subTest(changes=changes):
                with self.assertRaises(grpc.RpcError) as caught:
                    self.peer().send("пустите", self.forged(**changes))
                self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)

    def test_one_given_twice_is_still_one(self):
        self.assertTrue(self.peer().send("на связи", self.token, self.token).success)

    def test_logging_out_ends_the_token_and_its_streams(self):
        _, _, peer, token = self.enrolled()
        listener = self.listen(peer.stream(token))
        listener.wait_until_subscribed(lambda: peer.send("слышно?", token))
        peer.log_out(token)
        ended = listener.ended_with()
        self.assert_failed(grpc.StatusCode.UNAUTHENTICATED, "SESSION_ENDED", ended)
        self.assert_may_not_chat(peer, "SESSION_ENDED", token)

    def test_logging_out_without_being_logged_in(self):
        code = grpc.StatusCode.UNAUTHENTICATED
        self.assert_fails(code, "TOKEN_MISSING", self.peer().log_out)
        self.assert_fails(code, "TOKEN_INVALID", self.peer().log_out, "rubbish")


class Messages(ServerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.login, _, peer, cls.token = cls("enrolled").enrolled()
        cls.addClassCleanup(peer.close)

    def test_nobody_writes_in_another_name(self):
        other = self.enrolled()[0]
        for author in (other, "nobody", "root", self.login + "x", " " + self.login, "\u200b" + self.login):
            with self.subTest(author=author):
                self.assert_fails(grpc.StatusCode.PERMISSION_DENIED, "AUTHOR_MISMATCH", self.peer().send, "это он",
                                  self.token, author=author)

    def test_the_own_name_in_any_spelling_comes_out_in_one(self):
        wide = "".join(chr(ord(letter) + 0xFEE0) for letter in self.login)
        peer = self.peer()
        listener = self.listen(peer.stream(self.token))
        listener.wait_until_subscribed(lambda: peer.send("слышно?", self.token))
        for author in ("", self.login, self.login.upper(), wide):
            self.assertTrue(peer.send("это я", self.token, author=author).success, author)
            self.assertEqual(listener.next().author, self.login)

    def test_texts_that_break_a_rule(self):
        texts = {"empty": "", "4097 bytes": "a" * 4097, "2049 letters of two bytes": "я" * 2049, "NUL": "a\0b",
                 "escape": "\x1b[2J", "bell": "\a", "carriage return": "a\rb", "delete": "\x7f", "C1": "\x85",
                 "blanks": " \t\n\u3000", "201 lines": "a" + "\n" * 200}
        for name, text in texts.items():
            with self.subTest(name):
                error = self.assert_fails(INVALID, "TEXT_INVALID", self.peer().send, text, self.token)
                self.assertEqual(broken_fields(error), ["text"])

    def test_texts_at_the_edge_of_the_rules(self):
        for text in ("a", "a" * 4096, "я" * 2048, "две\nстроки\tи отступ", "a" + "\n" * 199, "🔐 👩‍👩‍👧", "שלום"):
            self.assertTrue(self.peer().send(text, self.token).success, text[:20])

    def test_a_request_past_64_kib_is_turned_away_and_the_server_lives_on(self):
        peer = self.peer()
        with self.assertRaises(grpc.RpcError) as caught:
            peer.send("a" * 70_000, self.token)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertTrue(peer.send("на связи", self.token).success)

    def test_what_is_no_message_at_all_is_turned_away_and_the_server_lives_on(self):
        peer = self.peer()
        for body in (b"\xff" * 40, b"\x12\xff\xff\xff\xff\x0f", b"\x12\x02\xc3\x28", b"\x0a\x80"):
            call = peer.channel.unary_unary("/Messaging/SendMessage")
            with self.assertRaises(grpc.RpcError):
                call(body, timeout=CALL_S, metadata=[("token", self.token)])
        self.assertTrue(peer.send("на связи", self.token).success)

    def test_a_call_that_does_not_exist(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.peer().channel.unary_unary("/Messaging/Erase")(b"", timeout=CALL_S)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)


class OldCalls(ServerCase):
    """Register, Login, InitOtp and CheckOtp never fail: the old client has no handler for that."""

    def test_registrations(self):
        taken = self.registered()[0]
        long = "я" * 33
        cases = [
            (taken, PASSWORD, "LOGIN_TAKEN"),
            (taken.upper(), PASSWORD, "LOGIN_TAKEN"),
            (taken.replace("e", "е"), PASSWORD, "LOGIN_TAKEN"),  # the Cyrillic letter that looks the same
            ("", PASSWORD, "LOGIN_INVALID"),
            ("a", PASSWORD, "LOGIN_INVALID"),
            (long, PASSWORD, "LOGIN_INVALID"),
            ("two words", PASSWORD, "LOGIN_INVALID"),
            ("../../etc/passwd", PASSWORD, "LOGIN_INVALID"),
            ("line\nbreak", PASSWORD, "LOGIN_INVALID"),
            ("'; DROP TABLE users; --", PASSWORD, "LOGIN_INVALID"),
            (self.new_login(), "", "WEAK_PASSWORD"),
            (self.new_login(), "seven77", "WEAK_PASSWORD"),
            (self.new_login(), "password", "WEAK_PASSWORD"),
            (self.new_login(), "я" * 129, "WEAK_PASSWORD"),
            ("own-login-77", "own-login-77", "WEAK_PASSWORD"),
        ]
        for login, password, reason in cases:
            with self.subTest(login=login[:20], password=password[:20]):
                self.assert_refused(self.peer().register(login, password), reason)

    def test_logins_that_fail_say_all_the_same(self):
        enrolled, _, _, _ = self.enrolled()
        bare = self.registered()[0]
        attempts = [(enrolled, "wrong password 1"), (bare, "wrong password 1"), ("nobody-here", PASSWORD), ("", ""),
                    (enrolled, ""), (enrolled, PASSWORD + "x"), ("line\nbreak", PASSWORD), (enrolled, "я" * 20_000)]
        answers = [self.peer().log_in(*attempt) for attempt in attempts]
        for answer in answers:
            self.assert_refused(answer, "INVALID_CREDENTIALS")
        self.assertEqual(len({answer.error for answer in answers}), 1)

    def test_a_login_before_the_enrolment_says_what_is_missing(self):
        login, peer = self.registered()
        answer = self.assert_ok(peer.log_in(login, PASSWORD))
        self.assertEqual(answer.state, auth_pb2.NEEDS_ENROLMENT)
        login, _, peer, _ = self.enrolled()
        answer = self.assert_ok(peer.log_in(login, PASSWORD))
        self.assertEqual(answer.state, auth_pb2.NEEDS_CODE)

    def test_the_token_metadata_may_be_anything(self):
        login, peer = self.registered()
        for tokens in (("rubbish",), ("",), ("a", "b"), ("x" * 5000,)):
            with self.subTest(tokens=[token[:10] for token in tokens]):
                metadata = [("token", token) for token in tokens]
                self.assertTrue(peer.log_in(login, PASSWORD, metadata=metadata).success)
                self.assertFalse(peer.register(login, PASSWORD, metadata=metadata).success)
                for answer in (peer.init_otp(login, *tokens), peer.check_otp(login, "123456", *tokens)):
                    self.assertTrue(answer.error and answer.reason)

    def test_second_factor_calls_out_of_nowhere(self):
        peer = self.peer()
        for login in ("", "nobody-here", "line\nbreak", "x" * 5000):
            with self.subTest(login=login[:20]):
                answer = peer.otp.InitOtp(otp_pb2.RequestInitOtp(login=login), timeout=CALL_S)
                self.assertTrue(answer.error and answer.reason and not answer.secret)
                answer = peer.otp.CheckOtp(otp_pb2.RequestCheckOtp(login=login, otp="123456"), timeout=CALL_S)
                self.assertTrue(answer.error and answer.reason and not answer.valid)


if __name__ == "__main__":
    unittest.main()
