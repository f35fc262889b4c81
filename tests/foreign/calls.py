"""gRPC calls by hand over http2.py, many at a time on one thread: what neither waits for an interpreter's other threads nor
reads what it does not want to read. Nothing here needs a gRPC library."""

import heapq
import itertools
import re
import selectors
import struct
import time
from collections import deque

import http2
from http2 import Connection, frame, request

FIRST_WINDOW = 65_535  # RFC 9113, 6.9.2
WIDE_WINDOW = 2**31 - 1
MAX_FRAME = 16_384
INITIAL_WINDOW_SIZE = 4

LOGIN, SEND = "/Auth/Login", "/Messaging/SendMessage"
HISTORY, SUBSCRIBE = "/Messaging/History", "/Messaging/Subscribe"


# --- The few messages that are needed, as bytes. ---

def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


def text_field(number, text):
    data = text if isinstance(text, bytes) else text.encode()
    return varint(number << 3 | 2) + varint(len(data)) + data


def login_request(login, password, code=""):
    return text_field(1, login) + text_field(2, password) + (text_field(3, code) if code else b"")


def send_request(text):
    return text_field(2, text)


def history_request(limit):
    return b"\x18" + varint(limit)


SUBSCRIBE_NOW = b"\x08\x01"
SUBSCRIBE_FROM_THE_BEGINNING = b"\x10\x00"


class Call:
    """A call, and what came back: `answered` says that a message did, `refusal` the words of the trailers if none."""

    def __init__(self, path, then, sees):
        self.path, self.then, self.sees = path, then, sees
        self.started = time.perf_counter()
        self.took = None
        self.number = 0
        self.bytes = bytearray()
        self.messages = []
        self.seen = 0
        self.refusal = None
        self.credit = FIRST_WINDOW

    @property
    def answered(self):
        return self.seen > 0

    def data(self, payload):
        self.bytes += payload
        while len(self.bytes) >= 5:
            length = int.from_bytes(self.bytes[1:5], "big")
            if len(self.bytes) < 5 + length:
                return
            message = bytes(self.bytes[5:5 + length])
            del self.bytes[:5 + length]
            self.seen += 1
            if self.sees:
                self.sees(self, message)
            else:
                self.messages.append(message)

    def end(self, refusal):
        if self.took is None:
            self.took = time.perf_counter() - self.started
            if not self.answered:
                self.refusal = refusal
            if self.then:
                self.then(self)


class Caller(Connection):
    """A connection that makes calls, with the same `headers` on each. `window` is what it is ready to read of each answer."""

    def __init__(self, loop, address, headers=(), source=None, window=WIDE_WINDOW):
        super().__init__(address, source=source)
        self.loop, self.headers = loop, tuple(headers)
        self.calls = {}
        self.credit = self.first_window = FIRST_WINDOW
        self.waiting = deque()
        self.queue(http2.PREFACE + frame(http2.SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, window)))
        if window > FIRST_WINDOW:
            self.queue(frame(http2.WINDOW_UPDATE, 0, 0, struct.pack(">I", window - FIRST_WINDOW)))
        self.read_since_update = 0
        loop.add(self)

    def queue(self, data):
        super().queue(data)
        loop = getattr(self, "loop", None)
        if loop:
            loop.changed.add(self)

    def call(self, path, message, *headers, then=None, sees=None):
        """Begins a call. `then(call)` is told its end, `sees(call, message)` each message in place of keeping it."""
        call = Call(path, then, sees)
        if self.closed:
            self.loop.at(time.monotonic() + 0.01, lambda: call.end("the connection is closed"))
            return call
        call.number, call.credit = self.stream(), self.first_window
        self.calls[call.number] = call
        self.queue(frame(http2.HEADERS, http2.END_HEADERS, call.number, request(path, *self.headers, *headers)))
        self.waiting.append((call, memoryview(http2.body(message))))
        self._send_bodies()
        return call

    def cancel(self, call):
        """Ends a call without waiting for the server."""
        if self.calls.pop(call.number, None):
            self.queue(frame(http2.RST_STREAM, 0, call.number, struct.pack(">I", http2.CANCEL)))

    def _send_bodies(self):
        """Sends as much as the server is ready to read."""
        for _ in range(len(self.waiting)):
            call, left = self.waiting.popleft()
            while len(left) and min(self.credit, call.credit) > 0 and call.took is None:
                size = min(len(left), MAX_FRAME, self.credit, call.credit)
                last = http2.END_STREAM if size == len(left) else 0
                self.queue(frame(http2.DATA, last, call.number, bytes(left[:size])))
                self.credit, call.credit, left = self.credit - size, call.credit - size, left[size:]
            if len(left) and call.took is None:
                self.waiting.append((call, left))

    def arrived(self, kind, flags, at):
        length = int.from_bytes(self.unread[at:at + 3], "big")
        number = int.from_bytes(self.unread[at + 5:at + 9], "big") & WIDE_WINDOW
        call = self.calls.get(number)
        payload = self.unread[at + 9:at + 9 + length]
        if kind == http2.DATA:
            self._took(length)
            if call:
                call.data(payload)
        elif kind == http2.WINDOW_UPDATE:
            more = int.from_bytes(payload, "big")
            if number == 0:
                self.credit += more
            elif call:
                call.credit += more
            self._send_bodies()
        elif kind == http2.SETTINGS and not flags & http2.ACK:
            self._agree(payload)
        if call and (kind == http2.RST_STREAM or kind in (http2.DATA, http2.HEADERS) and flags & http2.END_STREAM):
            self.calls.pop(number, None)
            call.end("RST_STREAM" if kind == http2.RST_STREAM else _words(payload))

    def _took(self, length):
        """Gives the connection's window back from time to time."""
        self.read_since_update += length
        if self.read_since_update > 2**20:
            self.queue(frame(http2.WINDOW_UPDATE, 0, 0, struct.pack(">I", self.read_since_update)))
            self.read_since_update = 0

    def _agree(self, payload):
        for at in range(0, len(payload) - 5, 6):
            name, value = struct.unpack(">HI", payload[at:at + 6])
            if name == INITIAL_WINDOW_SIZE:
                for call in self.calls.values():
                    call.credit += value - self.first_window
                self.first_window = value
        self._send_bodies()

    def close(self):
        if not self.closed:
            self.loop.forget(self)
        super().close()
        calls, self.calls = self.calls, {}
        for call in calls.values():
            call.end("the connection was closed")


def _words(block):
    """The readable parts of a header block: names and values that were not indexed before."""
    return " ".join(part.decode() for part in re.findall(rb"[ -~]{6,}", bytes(block)))[:200]


class Loop:
    """Turns connections as they become ready, and runs what was planned."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.changed = set()
        self.plans = []
        self.order = itertools.count()

    def add(self, caller):
        self.selector.register(caller.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, caller)

    def forget(self, caller):
        self.changed.discard(caller)
        self.selector.unregister(caller.socket)

    def at(self, when, job):
        """Plans a job for a time of the monotonic clock."""
        heapq.heappush(self.plans, (when, next(self.order), job))

    def run(self, until, over=lambda: False):
        """Until that time, or until `over()`; whether it was over."""
        while not over():
            now = time.monotonic()
            if now >= until:
                return False
            while self.plans and self.plans[0][0] <= now:
                heapq.heappop(self.plans)[2]()
            changed, self.changed = self.changed, set()
            for caller in changed:
                caller.turn()
                self._interest(caller)
            pause = min(0.05, until - now, *(max(0, plan[0] - now) for plan in self.plans[:1]))
            for key, _ in self.selector.select(pause):
                key.data.turn()
                self._interest(key.data)
        return True

    def _interest(self, caller):
        if caller.closed:
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if caller.out else 0)
        if self.selector.get_key(caller.socket).events != events:
            self.selector.modify(caller.socket, events, caller)

    def close(self):
        for key in list(self.selector.get_map().values()):
            key.data.close()
        self.selector.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def one_call(address, path, message, *headers, source=None, seconds=30):
    """One call on a connection of its own, up to its end."""
    with Loop() as loop:
        call = Caller(loop, address, headers, source).call(path, message)
        loop.run(time.monotonic() + seconds, lambda: call.took is not None)
        return call
