"""What one member or stranger does to the others, each at the lowest priority in a process of its own: `fair_attacks.py`
reads from stdin, as JSON, which one, where and for how long, and prints what it did."""

import itertools
import json
import os
import signal
import sys
import threading
import time

from calls import (HISTORY, LOGIN, SEND, SUBSCRIBE, SUBSCRIBE_FROM_THE_BEGINNING, Caller, Loop, history_request, login_request,
                   send_request, text_field)

LOWEST_PRIORITY = 19
LONGEST_S = 120
MAX_TEXT, MAX_REQUEST = 4_096, 65_536
# The number of a field that no request has; its tag takes a byte.
UNKNOWN_FIELD = 15

# A signal ends an attack before its time.
ENOUGH = threading.Event()


class Crowd:
    """Connections that keep a number of calls under way, each opened again when it is cut."""

    def __init__(self, loop, plan, connections, source=None):
        self.loop, self.address, self.source = loop, tuple(plan["address"]), source
        self.until = time.monotonic() + min(plan["seconds"], LONGEST_S)
        self.headers = (("token", plan["token"]),) if plan.get("token") else ()
        self.callers = [self._connect() for _ in range(connections)]
        self.answered = self.refused = self.reconnected = 0
        self.first_refusal = None

    def _connect(self, **how):
        return Caller(self.loop, self.address, self.headers, self.source, **how)

    def keep(self, place, begin, pause=0):
        """One call after the other on the connection with this number; `begin(caller, then)` makes one."""
        def then(call):
            if call.answered:
                self.answered += 1
            else:
                self.refused += 1
                self.first_refusal = self.first_refusal or call.refusal
            if time.monotonic() < self.until:
                # Not from within the connection's own reading.
                wait = pause if call.answered or not pause else max(pause, 0.02)
                self.loop.at(time.monotonic() + wait, again)

        def again():
            if self.callers[place].closed:
                self.reconnected += 1
                self.callers[place] = self._connect()
            begin(self.callers[place], then)
        again()

    def report(self):
        return {"answered": self.answered, "refused": self.refused, "reconnected": self.reconnected,
                "first_refusal": self.first_refusal}


def flood(plan):
    """64 messages under way on four connections, each as long as a message may be."""
    message = send_request("f" * MAX_TEXT)
    with Loop() as loop:
        crowd = Crowd(loop, plan, 4)
        for n in range(64):
            crowd.keep(n % 4, lambda caller, then: caller.call(SEND, message, then=then))
        loop.run(crowd.until)
        return crowd.report()


def unread(plan):
    """1,000 pages on each of five connections, and no room for a byte of them."""
    with Loop() as loop:
        crowd = Crowd(loop, plan, 0)
        for _ in range(5):
            caller = crowd._connect(window=0)
            for _ in range(1_000):
                caller.call(HISTORY, history_request(500))
            crowd.callers.append(caller)
        loop.run(crowd.until)
        waiting = sum(len(caller.calls) for caller in crowd.callers)
        return {"asked": 5_000, "waiting_at_the_end": waiting, "cut": sum(caller.closed for caller in crowd.callers)}


def unread_socket(plan):
    """The same with room for everything, on connections that are never read."""
    until = time.monotonic() + min(plan["seconds"], LONGEST_S)
    with Loop() as loop:
        crowd = Crowd(loop, plan, 0)
        for _ in range(5):
            caller = crowd._connect()
            # The server's settings are read and agreed to first.
            loop.run(time.monotonic() + 1, lambda one=caller: one.received.get(4, 0) >= 2)
            for _ in range(1_000):
                caller.call(HISTORY, history_request(500))
            caller.reads = False
            crowd.callers.append(caller)
        # Without reading, the loop would see them ready for ever.
        while time.monotonic() < until:
            for caller in crowd.callers:
                caller.turn()
            time.sleep(0.05)
        return {"asked": 5_000, "cut": sum(caller.closed for caller in crowd.callers)}


def replays(plan):
    """16 streams from the first message on, each opened again as soon as it has caught up."""
    did = {"replays": 0}
    with Loop() as loop:
        crowd = Crowd(loop, plan, 4)

        def begin(caller, then):
            def sees(call, message):
                # A `caught_up` without content.
                if b"\x1a\x00" in message and call.took is None:
                    did["replays"] += 1
                    caller.cancel(call)
                    call.end(None)
            caller.call(SUBSCRIBE, SUBSCRIBE_FROM_THE_BEGINNING, then=then, sees=sees)
        for n in range(16):
            crowd.keep(n % 4, begin, pause=0.001)
        loop.run(crowd.until)
        return {**crowd.report(), **did}


def unknown_fields(plan):
    """400 logins of 64 KiB, most of it fields that no login has: half of them one long field, half thousands of short ones."""
    def message(n):
        start = login_request(f"nobody{n}", "wrong password")
        room = MAX_REQUEST - len(start) - 8
        return start + (text_field(UNKNOWN_FIELD, b"u" * room) if n % 2 else bytes([UNKNOWN_FIELD << 3, 0]) * (room // 2))
    with Loop() as loop:
        crowd = Crowd(loop, plan, 8)
        calls = [caller.call(LOGIN, message(n)) for n in range(50) for caller in crowd.callers]
        loop.run(crowd.until, lambda: all(call.took is not None for call in calls))
        return {"answered": sum(call.answered for call in calls), "asked": len(calls)}


def passwords(plan):
    """Wrong passwords, two under way for each network, each from the next of the given networks, by way of a proxy."""
    networks, logins = itertools.cycle(plan["networks"]), itertools.cycle(plan["logins"])
    numbers = itertools.count()
    with Loop() as loop:
        crowd = Crowd(loop, plan, 8)

        def begin(caller, then):
            message = login_request(next(logins), f"wrong password {next(numbers)}")
            caller.call(LOGIN, message, ("x-forwarded-for", next(networks)), then=then)
        for n in range(2 * len(plan["networks"])):
            crowd.keep(n % 8, begin, pause=0.001)
        loop.run(crowd.until, ENOUGH.is_set)
        return {**crowd.report(), "tried": next(numbers)}


def refusals(plan):
    """Messages without a token, at a steady rate."""
    step = 0.01
    with Loop() as loop:
        crowd = Crowd(loop, plan, 4, plan["source"])
        turns = itertools.count()

        def refused(_):
            crowd.refused += 1

        def some():
            for place, caller in enumerate(crowd.callers):
                if caller.closed:
                    crowd.reconnected += 1
                    caller = crowd.callers[place] = crowd._connect()
                # A slow server is not asked for more than it can answer.
                for _ in range(int(plan["rate"] * step / 4) if len(caller.calls) < 100 else 0):
                    caller.call(SEND, b"\x12\x01x", then=refused)
            loop.at(begun + next(turns) * step, some)
        begun = time.monotonic()
        some()
        loop.run(crowd.until)
        return {"refused": crowd.refused, "per_second": round(crowd.refused / (time.monotonic() - begun)),
                "reconnected": crowd.reconnected}


ATTACKS = {function.__name__: function for function in (
    flood, unread, unread_socket, replays, unknown_fields, passwords, refusals)}


def main():
    os.nice(LOWEST_PRIORITY)
    signal.signal(signal.SIGTERM, lambda *_: ENOUGH.set())
    plan = json.load(sys.stdin)
    assert plan["address"][0] == "127.0.0.1", "this machine only"
    print(json.dumps(ATTACKS[plan["attack"]](plan)))


if __name__ == "__main__":
    main()
