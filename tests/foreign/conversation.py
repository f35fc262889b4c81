"""Two old clients chat over a running server: `conversation.py HOST:PORT`. Exit code 0 if both got the messages."""

import os
import sys

from harness import Authenticator
from old_client import OldClient

SAID = (("Привет!", 0), ("Здравствуйте!", 1), ("Как дела?", 0))


def join(address, login):
    client = OldClient(address)
    picture = client.do_register(login, "верный конь 7")
    assert picture, client.printed
    assert client.do_login(login, "верный конь 7", Authenticator(picture).fresh_code), client.printed
    listener = client.listen()
    listener.wait_until_subscribed(lambda: client.say("слышно?"))
    return client, listener


def main(address):
    people = [join(address, f"guest-{os.getpid()}-{n}") for n in (1, 2)]
    sent = [people[who][0].say(text).id for text, who in SAID]
    for client, listener in people:
        heard = {}
        while len(heard) < len(sent):
            message = listener.next()
            if str(message.id) in sent:
                heard[str(message.id)] = message.text
        assert list(heard) == sent and list(heard.values()) == [text for text, _ in SAID], heard
        listener.close()
        client.close()
    print(f"two old clients heard each other through {address}")


if __name__ == "__main__":
    main(sys.argv[1])
