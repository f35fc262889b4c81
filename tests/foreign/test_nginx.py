"""Behind a real nginx with the shipped configuration: clients chat, and the server knows their addresses."""

import re
import unittest

import grpc

import http2
from base import PASSWORD, ServerCase
from harness import Peer
from nginx import PROGRAM, Nginx

import auth_pb2

FLAGS = ("--trusted-proxy", "127.0.0.1", "--registration", "open")
LOGIN = "/Auth/Login"
# Unused addresses of loopback.
STRANGER, CLAIMED = "127.0.0.77", "203.0.113.9"


@unittest.skipUnless(PROGRAM, "there is no nginx here: script/bootstrap --test gets one")
class BehindNginx(ServerCase):
    flags = FLAGS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.nginx = cls.enterClassContext(Nginx(cls.server.port))

    def peer(self):
        peer = Peer(f"localhost:{self.nginx.port}", grpc.ssl_channel_credentials(self.nginx.chain.read_bytes()))
        self.addCleanup(peer.close)
        return peer

    def test_people_register_log_in_and_hear_each_other(self):
        (_, _, ann, ann_token), (_, _, bob, bob_token) = self.enrolled(), self.enrolled()
        heard = [self.listen(ann.stream(ann_token)), self.listen(bob.stream(bob_token))]
        for listener in heard:
            listener.wait_until_subscribed(lambda: ann.send("слышно?", ann_token))
        for peer, token, text in ((ann, ann_token, "Привет!"), (bob, bob_token, "Здравствуйте! " + "ю" * 1_900)):
            sent = peer.send(text, token)
            for listener in heard:
                message = listener.next()
                while str(message.id) != sent.id:
                    message = listener.next()
                self.assertEqual(message.text, text)

    def test_refusals_come_through_as_they_are(self):
        self.assert_may_not_chat(self.peer(), "TOKEN_MISSING")
        self.assert_refused(self.peer().log_in("nobody-here", PASSWORD), "INVALID_CREDENTIALS")

    def test_nobody_is_known_by_his_connection(self):
        login, peer = self.registered()
        self.assertTrue(peer.init_otp(login).reason, "the connection that registered is no proof here")
        self.assertTrue(peer.check_otp(login, "123456").reason)


@unittest.skipUnless(PROGRAM, "there is no nginx here: script/bootstrap --test gets one")
class RealAddress(ServerCase):
    flags = FLAGS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Without TLS: these callers write their frames by hand.
        cls.nginx = cls.enterClassContext(Nginx(cls.server.port, tls=False))

    def address_in_log(self, port, *headers):
        """Which address a refused login is logged under."""
        login = self.new_login("stranger")
        message = auth_pb2.LoginRequest(login=login, password=PASSWORD).SerializeToString()
        http2.call(("127.0.0.1", port), LOGIN, message, headers, STRANGER)
        lines = [line for line in self.server.log_text().splitlines() if login in line]
        self.assertEqual(len(lines), 1, lines)
        return re.search(r" address=(\S+) ", lines[0]).group(1)

    def test_through_the_proxy_it_is_the_callers(self):
        self.assertEqual(self.address_in_log(self.nginx.port), STRANGER)

    def test_what_the_caller_says_of_himself_has_no_effect(self):
        for said in (CLAIMED, f"{CLAIMED}, 127.0.0.1", "127.0.0.1", "rubbish", ""):
            for port in (self.nginx.port, self.server.port):
                with self.subTest(said=said, direct=port == self.server.port):
                    self.assertEqual(self.address_in_log(port, ("x-forwarded-for", said)), STRANGER)
        twice = [("x-forwarded-for", CLAIMED), ("x-forwarded-for", "127.0.0.1")]
        self.assertEqual(self.address_in_log(self.nginx.port, *twice), STRANGER)
        self.assertEqual(self.address_in_log(self.nginx.port, ("x-real-ip", CLAIMED), ("forwarded", f"for={CLAIMED}")), STRANGER)


if __name__ == "__main__":
    unittest.main()
