"""The predecessor's own client, unchanged, registers, logs in and chats."""

import time
import unittest

import grpc
import jwt
import pyotp

from base import PASSWORD, ServerCase
from harness import Authenticator, Server
from old_client import OldClient

DAY_S = 24 * 60 * 60


class OldWay(ServerCase):
    def person(self, password=PASSWORD):
        """An old client that has registered, scanned the picture and logged in."""
        login, client = self.new_login(), self.old_client()
        phone = Authenticator(client.do_register(login, password))
        self.assertTrue(client.do_login(login, password, phone.fresh_code), client.printed)
        return client, phone

    def test_the_picture_is_one_that_every_authenticator_reads(self):
        login, client = self.new_login("мария"), self.old_client()
        uri = client.do_register(login, PASSWORD)
        self.assertTrue(uri.startswith("otpauth://totp/"), uri.split("?")[0])
        totp = pyotp.parse_uri(uri)
        self.assertEqual((totp.digits, totp.interval, totp.digest().name), (6, 30, "sha1"))
        self.assertEqual(len(totp.byte_secret()), 20)
        self.assertEqual(totp.name, login)
        self.assertTrue(totp.issuer)

    def test_two_people_chat(self):
        ann, bob = self.person()[0], self.person("second horse 8")[0]
        hears_ann, hears_bob = self.listen_as(ann), self.listen_as(bob)
        said = [(ann, "Привет!"), (bob, "Здравствуйте!"), (ann, "Как дела?\n\tи вторая строка")]
        before = time.time()
        answers = [client.say(text) for client, text in said]
        for listener in (hears_ann, hears_bob):
            heard = [self.next_of(answers[0].id, listener)] + [listener.next() for _ in said[1:]]
            self.assertEqual([(m.author, m.text) for m in heard], [(c.login, text) for c, text in said])
            self.assertEqual([str(m.id) for m in heard], [answer.id for answer in answers])
            self.assertEqual([m.send_time for m in heard], [answer.server_time for answer in answers])
            self.assertTrue(listener.messages.empty())
            for message in heard:
                self.assertAlmostEqual(message.send_time.ToSeconds(), before, delta=60)
        self.assertTrue(all(answer.success for answer in answers))
        ids = [int(answer.id) for answer in answers]
        self.assertEqual(ids, sorted(set(ids)))

    def next_of(self, first, listener):
        """Skips the messages that the others sent to find out whether they are connected."""
        message = listener.next()
        while str(message.id) != first:
            message = listener.next()
        return message

    def listen_as(self, client):
        listener = client.listen()
        self.addCleanup(listener.close)
        listener.wait_until_subscribed(lambda: client.say("слышно?"))
        return listener

    def test_everybody_in_the_room_hears_the_same_in_the_same_order(self):
        clients = [self.person()[0] for _ in range(3)]
        listeners = [client.listen() for client in clients]
        for listener in listeners:
            self.addCleanup(listener.close)
            listener.wait_until_subscribed(lambda: clients[0].say("слышно?"))
        sent = [client.say(f"{n}").id for n in range(10) for client in clients]
        for listener in listeners:
            heard = []
            while len(heard) < len(sent):
                message = listener.next()
                if message.text != "слышно?":
                    heard.append(str(message.id))
            self.assertEqual(heard, sent)

    def test_a_mistyped_code_may_be_typed_again(self):
        login, client = self.new_login(), self.old_client()
        phone = Authenticator(client.do_register(login, PASSWORD))
        codes = iter([phone.wrong_code(), "12345", phone.fresh_code()])
        self.assertTrue(client.do_login(login, PASSWORD, lambda: next(codes)))
        self.assertEqual(len(client.printed), 2)
        self.assertTrue(all(client.printed))

    def test_after_three_wrong_codes_it_is_not_in(self):
        login, client = self.new_login(), self.old_client()
        phone = Authenticator(client.do_register(login, PASSWORD))
        self.assertFalse(client.do_login(login, PASSWORD, phone.wrong_code))
        self.assertEqual(len(client.printed), 3)

    def test_a_refused_registration_and_a_refused_login_are_sentences(self):
        login, client = self.new_login(), self.old_client()
        client.do_register(login, PASSWORD)
        self.assertIsNone(client.do_register(login, PASSWORD))
        self.assertFalse(client.do_login(login, "not the password", lambda: self.fail("no code is asked for")))
        self.assertEqual(len([text for text in client.printed if text.endswith(".")]), 2, client.printed)

    def test_the_token_is_what_the_predecessor_gave(self):
        client = self.person()[0]
        key = (self.server.data_dir / "jwt.key").read_bytes()
        claims = jwt.decode(client.token, key, algorithms=["HS256"], issuer="grpc-otp-chat")
        self.assertEqual(claims["login"], client.login)
        self.assertIsInstance(claims["user_id"], int)
        self.assertAlmostEqual(claims["exp"], time.time() + DAY_S, delta=120)
        self.assertIn("sid", claims)

    def test_what_is_kept_on_disk_is_for_its_owner_only(self):
        self.person()
        files = {path.name: path.stat().st_mode & 0o777 for path in self.server.data_dir.iterdir()}
        for name in ("users.db", "jwt.key", "sealing.key"):
            self.assertEqual(files[name], 0o600, name)


class AcrossARestart(unittest.TestCase):
    def test_the_stream_ends_with_a_status_and_the_session_goes_on(self):
        with Server() as server:
            client = OldClient(server.address)
            self.addCleanup(client.close)
            phone = Authenticator(client.do_register("ann", PASSWORD))
            self.assertTrue(client.do_login("ann", PASSWORD, phone.fresh_code), client.printed)
            listener = client.listen()
            listener.wait_until_subscribed(lambda: client.say("слышно?"))
            last = client.say("до")
            self.assertEqual(server.stop(), 0, server.log_text())
            self.assertEqual(listener.ended_with().code(), grpc.StatusCode.UNAVAILABLE)

            server.start()
            grpc.channel_ready_future(client.channel).result(timeout=60)
            listener = client.listen()
            self.addCleanup(listener.close)
            listener.wait_until_subscribed(lambda: client.say("слышно?"))
            first = client.say("после")
            self.assertEqual(listener.next().text, "после")
            self.assertGreater(int(first.id), int(last.id))

    def test_the_chat_is_in_the_log_unless_it_is_switched_off(self):
        for flags, expected in (((), True), (("--chat-log", "off"), False)):
            with self.subTest(flags=flags), Server(*flags) as server:
                client = OldClient(server.address)
                self.addCleanup(client.close)
                phone = Authenticator(client.do_register("ann", PASSWORD))
                self.assertTrue(client.do_login("ann", PASSWORD, phone.fresh_code), client.printed)
                client.say("Привет!\n[00:00:00] bob: я не bob")
                server.stop()
                log = server.log_text()
                self.assertEqual("ann: Привет!" in log, expected, log)
                self.assertFalse([line for line in log.splitlines() if line.startswith("[00:00:00]")])
                for secret in (client.token, phone.secret(), phone.last_code(), PASSWORD):
                    self.assertNotIn(secret, log)


if __name__ == "__main__":
    unittest.main()
