"""The base of the test cases: one server for a whole class, and accounts on it."""

import itertools
import unittest

import grpc

from harness import Authenticator, Listener, Peer, Server, error_info
from old_client import OldClient

PASSWORD = "верный конь 7"


class ServerCase(unittest.TestCase):
    flags = ()
    _numbers = itertools.count(1)

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server(*cls.flags))

    def peer(self):
        """A connection of its own."""
        peer = Peer(self.server.address)
        self.addCleanup(peer.close)
        return peer

    def old_client(self):
        client = OldClient(self.server.address)
        self.addCleanup(client.close)
        return client

    def listen(self, stream):
        listener = Listener(stream)
        self.addCleanup(listener.close)
        return listener

    def new_login(self, stem="user"):
        """A login that no other test has."""
        return f"{stem}{next(self._numbers)}"

    def registered(self):
        """An account without a second factor, and the connection that registered it."""
        login, peer = self.new_login(), self.peer()
        self.assert_ok(peer.register(login, PASSWORD))
        return login, peer

    def enrolled(self):
        """An account with a second factor, set up by a session of its own; its token is good for chatting. One code
        is used up."""
        login, peer = self.registered()
        waiting = peer.log_in(login, PASSWORD)
        self.assert_ok(waiting)
        phone = Authenticator(self.assert_ok(peer.init_otp(login, waiting.token)).secret)
        done = self.assert_ok(peer.check_otp(login, phone.fresh_code(), waiting.token))
        return login, phone, peer, done.token or waiting.token

    def assert_ok(self, answer):
        """An answer of Auth or Otp without a refusal."""
        self.assertEqual((answer.error, answer.reason), ("", ""))
        return answer

    def assert_refused(self, answer, reason):
        """A refusal of Auth or Otp: it comes in the response, with a sentence and nothing of value."""
        self.assertEqual(answer.reason, reason)
        self.assertNotEqual(answer.error, "")
        for field in ("success", "valid", "token", "secret", "state"):
            self.assertFalse(getattr(answer, field, False), field)

    def assert_fails(self, code, reason, call, *args, **kwargs):
        """A call that ends with this status and says why in its details; the error."""
        with self.assertRaises(grpc.RpcError) as caught:
            call(*args, **kwargs)
        return self.assert_failed(code, reason, caught.exception)

    def assert_failed(self, code, reason, error):
        self.assertEqual((error.code(), error_info(error).reason), (code, reason), error)
        return error

    def assert_stream_fails(self, code, reason, stream):
        self.assert_failed(code, reason, self.listen(stream).ended_with())

    def assert_may_chat(self, peer, token):
        self.assertTrue(peer.send("на связи", token).success)

    def assert_may_not_chat(self, peer, reason, *tokens):
        code = grpc.StatusCode.UNAUTHENTICATED
        self.assert_fails(code, reason, peer.send, "пустите", *tokens)
        self.assert_stream_fails(code, reason, peer.stream(*tokens))
