"""TLS with clients that are not ours: Python's grpcio, and `openssl s_client`."""

import re
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

import grpc

from base import PASSWORD
from harness import CALL_S, Authenticator, Listener, Peer, Server

SOON_S = 30  # for the server to notice what has changed; it looks every three seconds


def openssl(*args, text=""):
    """Runs openssl; what it prints, and its exit code."""
    command = ["openssl", *map(str, args)]
    # The output of s_client ends with the first bytes of the server, which are no text.
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", errors="replace", timeout=CALL_S)
    return done.stdout + done.stderr, done.returncode


class Certificates:
    """Certificates in a directory of their own: `<name>.pem` and `<name>.key`."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="otpchat-tls-")
        self.authority("ca")

    def close(self):
        self.directory.cleanup()

    def pem(self, name):
        return Path(self.directory.name) / f"{name}.pem"

    def key(self, name):
        return Path(self.directory.name) / f"{name}.key"

    def authority(self, name):
        self._run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 30,
                  "-subj", f"/CN={name}", "-keyout", self.key(name), "-out", self.pem(name))

    def sign(self, name, by="ca", days=30):
        """Makes a certificate for localhost, or makes it anew."""
        request, names = self.pem(f"{name}-request"), self.pem(f"{name}-names")
        self._run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                  "-subj", f"/CN={name}", "-keyout", self.key(name), "-out", request)
        names.write_text("subjectAltName=DNS:localhost\n")
        self._run("x509", "-req", "-in", request, "-CA", self.pem(by), "-CAkey", self.key(by), "-days", days,
                  "-extfile", names, "-out", self.pem(name))

    def flags(self, name):
        return "--tls-cert", str(self.pem(name)), "--tls-key", str(self.key(name))

    def credentials(self, root="ca", ours=None):
        return grpc.ssl_channel_credentials(
            self.pem(root).read_bytes(), self.key(ours).read_bytes() if ours else None,
            self.pem(ours).read_bytes() if ours else None)

    def fingerprint(self, name):
        return openssl("x509", "-noout", "-fingerprint", "-sha256", "-in", self.pem(name))[0]

    @staticmethod
    def _run(*args):
        said, code = openssl(*args)
        assert code == 0, said


def shown_by(server):
    """The fingerprint of the certificate that a new connection gets."""
    said, _ = openssl("s_client", "-connect", server.address, "-alpn", "h2")
    return openssl("x509", "-noout", "-fingerprint", "-sha256", text=said)[0]


class Tls(unittest.TestCase):
    def setUp(self):
        self.certificates = Certificates()
        self.addCleanup(self.certificates.close)

    def serve(self, name, *more):
        return self.enterContext(Server(*self.certificates.flags(name), *more))

    def peer(self, server, root="ca", ours=None):
        peer = Peer(server.address, self.certificates.credentials(root, ours))
        self.addCleanup(peer.close)
        return peer

    def join(self, server, login):
        """An account with its second factor, set up by TLS; the connection and its token."""
        peer = self.peer(server)
        self.assertTrue(peer.register(login, PASSWORD).success)
        waiting = peer.log_in(login, PASSWORD).token
        phone = Authenticator(peer.init_otp(login, waiting).secret)
        self.assertTrue(peer.check_otp(login, phone.fresh_code(), waiting).valid)
        again = self.peer(server)
        done = again.log_in(login, PASSWORD, phone.fresh_code())
        self.assertTrue(done.success, done.error)
        return again, done.token

    def assert_does_not_connect(self, peer):
        with self.assertRaises(grpc.RpcError) as caught:
            peer.register("nobody", PASSWORD)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)

    def test_two_people_chat_by_the_right_authority(self):
        self.certificates.sign("server")
        server = self.serve("server")
        (ann, ann_token), (bob, bob_token) = self.join(server, "ann"), self.join(server, "bob")
        heard = Listener(bob.stream(bob_token))
        self.addCleanup(heard.close)
        heard.wait_until_subscribed(lambda: ann.send("слышно?", ann_token))
        ann.send("Привет!", ann_token)
        self.assertEqual(heard.next().text, "Привет!")

    def test_the_wrong_authority_and_an_expired_certificate_are_not_trusted(self):
        self.certificates.sign("server")
        self.certificates.authority("stranger")
        self.assert_does_not_connect(self.peer(self.serve("server"), root="stranger"))
        self.certificates.sign("late", days=-1)
        late = self.serve("late")
        self.assertIn("WARN  TLS: the certificate expired", late.log_text())
        self.assert_does_not_connect(self.peer(late))

    def test_a_plaintext_client_and_rubbish_get_nothing_and_harm_nobody(self):
        self.certificates.sign("server")
        server = self.serve("server")
        plaintext = Peer(server.address)
        self.addCleanup(plaintext.close)
        self.assert_does_not_connect(plaintext)
        with socket.create_connection(("localhost", server.port), timeout=CALL_S) as stranger:
            stranger.sendall(bytes(range(256)) * 16)
            try:
                self.assertEqual(stranger.recv(1), b"")
            except ConnectionResetError:
                pass
        self.assertTrue(self.peer(server).register("ann", PASSWORD).success)
        self.assertNotIn("SSL", server.log_text(), "what strangers do wrong does not fill the log")

    def test_tls_1_1_is_refused(self):
        self.certificates.sign("server")
        server = self.serve("server")
        for version, spoken in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
            with self.subTest(version=version):
                said, _ = openssl("s_client", version, "-cipher", "ALL:@SECLEVEL=0", "-alpn", "h2",
                                  "-connect", server.address)
                self.assertEqual("Cipher is (NONE)" not in said, spoken, said)

    def test_a_client_certificate_is_wanted_and_has_to_be_of_its_authority(self):
        self.certificates.sign("server")
        self.certificates.authority("members")
        self.certificates.sign("member", by="members")
        server = self.serve("server", "--tls-client-ca", str(self.certificates.pem("members")))
        self.assert_does_not_connect(self.peer(server))
        self.assert_does_not_connect(self.peer(server, ours="server"))
        self.assertTrue(self.peer(server, ours="member").register("ann", PASSWORD).success)

    def test_the_plaintext_port_beside_tls_serves_this_machine(self):
        self.certificates.sign("server")
        server = self.serve("server", "--listen-plaintext", "localhost:0")
        port = server.wait_for_log(r"listening on 127.0.0.1:(\d+) in plaintext")[1]
        plaintext = Peer(f"localhost:{port}")
        self.addCleanup(plaintext.close)
        self.assertTrue(plaintext.register("ann", PASSWORD).success)
        # As the predecessor's client does it, which is not allowed by TLS.
        self.assertTrue(plaintext.init_otp("ann").secret)
        peer = self.peer(server)
        self.assertTrue(peer.register("bob", PASSWORD).success)
        self.assertFalse(peer.init_otp("bob").secret)

    def test_a_new_certificate_is_served_without_a_restart_and_no_stream_is_dropped(self):
        self.certificates.sign("server")
        server = self.serve("server", "--chat-log", "off")
        peer, token = self.join(server, "ann")
        heard = Listener(peer.stream(token))
        self.addCleanup(heard.close)
        heard.wait_until_subscribed(lambda: peer.send("слышно?", token))
        stop, sent = threading.Event(), []

        def talk():
            while not stop.is_set():
                sent.append(peer.send(f"{len(sent)}", token).id)

        talker = threading.Thread(target=talk, daemon=True)
        talker.start()
        self.addCleanup(stop.set)
        # Once at a signal, once by itself.
        for reload in (server.reload, lambda: None):
            before = self.certificates.fingerprint("server")
            self.assertEqual(shown_by(server), before)
            self.certificates.sign("server")
            reload()
            after = self.certificates.fingerprint("server")
            self.assertNotEqual(before, after)
            end = time.monotonic() + SOON_S
            while shown_by(server) != after:
                self.assertLess(time.monotonic(), end, server.log_text())
        stop.set()
        talker.join(CALL_S)
        self.assertGreater(len(sent), 0)
        self.assertEqual([str(heard.next().id) for _ in sent], sent)
        self.assertTrue(heard.end.empty())
