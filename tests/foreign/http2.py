"""HTTP/2 by hand (RFC 9113, RFC 7541): enough to write frames that no good library would, and to read the answers.
Nothing is ever compressed."""

import selectors
import socket
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 6, 7, 8, 9
END_STREAM = ACK = 1
END_HEADERS = 4
# The default source address of connections; `None` leaves it to the system.
SOURCE = None
CANCEL = 8


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _string(text):
    """A string literal: its length with a prefix of seven bits, and itself."""
    data = text if isinstance(text, bytes) else text.encode()
    length, size = len(data), b""
    if length < 127:
        return bytes([length]) + data
    length -= 127
    while length >= 128:
        size += bytes([length % 128 + 128])
        length //= 128
    return b"\x7f" + size + bytes([length]) + data


def field(name, value, remembered=False):
    """A header field as a literal; `remembered` has the server index it."""
    return (b"\x40" if remembered else b"\x00") + _string(name) + _string(value)


def request(path, *more):
    """The header block of a gRPC call."""
    fields = ((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
              ("content-type", "application/grpc"), ("te", "trailers"), *more)
    return b"".join(field(*one) for one in fields)


def body(message):
    """A gRPC message, uncompressed."""
    return b"\x00" + struct.pack(">I", len(message)) + message


class Connection:
    """A connection that never blocks. `queue` what is to be sent; `turn` sends and reads what is possible."""

    def __init__(self, address, acknowledges=True, reads=True, source=None):
        self.socket = socket.socket(socket.AF_INET)
        if source or SOURCE:
            self.socket.bind((source or SOURCE, 0))
        self.socket.setblocking(False)
        self.socket.connect_ex(address)
        self.acknowledges, self.reads = acknowledges, reads
        self.out = bytearray()
        self.unread = bytearray()
        self.sent = 0
        self.received = {}
        self.goaway = None
        self.ended = False
        self.closed = False
        self.next_stream = 1
        self.opened_at = time.monotonic()
        self.closed_at = None

    def introduce(self):
        self.queue(PREFACE + frame(SETTINGS, 0, 0))
        return self

    def queue(self, data):
        self.out += data

    def stream(self):
        number, self.next_stream = self.next_stream, self.next_stream + 2
        return number

    def turn(self):
        """Sends and reads as much as the socket allows now."""
        if self.closed:
            return
        try:
            if self.reads:
                self._read()
            while self.out and not self.closed:
                done = self.socket.send(memoryview(self.out)[:1 << 18])
                self.sent += done
                del self.out[:done]
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def _read(self):
        try:
            while True:
                data = self.socket.recv(1 << 18)
                if not data:
                    return self.close()
                self.unread += data
                self._understand()
        except BlockingIOError:
            return None

    def _understand(self):
        at = 0
        while len(self.unread) - at >= 9:
            length = int.from_bytes(self.unread[at:at + 3], "big")
            if len(self.unread) - at < 9 + length:
                break
            kind, flags = self.unread[at + 3], self.unread[at + 4]
            self.received[kind] = self.received.get(kind, 0) + 1
            if kind == GOAWAY and length >= 8:
                self.goaway = int.from_bytes(self.unread[at + 13:at + 17], "big")
            if kind in (DATA, HEADERS) and flags & END_STREAM or kind == RST_STREAM:
                self.ended = True
            if kind == SETTINGS and not flags & ACK and self.acknowledges:
                self.queue(frame(SETTINGS, ACK, 0))
            if kind == PING and not flags & ACK:
                self.queue(frame(PING, ACK, 0, bytes(self.unread[at + 9:at + 17])))
            self.arrived(kind, flags, at)
            at += 9 + length
        del self.unread[:at]

    def arrived(self, kind, flags, at):
        """A whole frame begins in `unread` at this place. For subclasses."""

    def close(self):
        if not self.closed:
            self.closed, self.closed_at = True, time.monotonic()
            self.socket.close()


def pump(connections, until, refill=None, keep=1 << 18):
    """Turns all connections until the time has come or all are closed; `refill(connection)` is asked for more to send when
    less than `keep` bytes wait."""
    with selectors.DefaultSelector() as selector:
        wanted = {}
        for one in connections:
            if one.closed:
                continue
            selector.register(one.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, one)
            wanted[one] = True
        while wanted and time.monotonic() < until:
            for key, _ in selector.select(timeout=0.05):
                one = key.data
                if refill and not one.closed and len(one.out) < keep:
                    more = refill(one)
                    if more:
                        one.queue(more)
                fileno = key.fd
                one.turn()
                if one.closed:
                    selector.unregister(fileno)
                    del wanted[one]
                    continue
                writes = bool(one.out) or refill is not None
                if wanted[one] != writes:
                    wanted[one] = writes
                    events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writes else 0)
                    selector.modify(fileno, events, one)


def call(address, path, message, headers=(), source=None, seconds=20):
    """One whole call on a connection of its own, from an address of this machine's: what came back, by frame kinds."""
    one = Connection(address, source=source).introduce()
    number = one.stream()
    one.queue(frame(HEADERS, END_HEADERS, number, request(path, *headers)))
    one.queue(frame(DATA, END_STREAM, number, body(message)))
    until = time.monotonic() + seconds
    while not one.ended and not one.closed and time.monotonic() < until:
        pump([one], time.monotonic() + 0.05)
    one.close()
    assert one.ended, f"no answer from {address}: {one.received}"
    return one.received
