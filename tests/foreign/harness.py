"""What the tests share: a real otpchatd with a data directory of its own, stubs made from our proto files, and the
reading of error details by Google's own definitions of them. Every wait has a limit; nothing sleeps."""

import atexit
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

import grpc
import pyotp
from google.rpc import error_details_pb2, status_pb2

PROTO = Path(__file__).resolve().parents[2] / "proto"
OTPCHATD = os.environ.get("OTPCHATD")

CALL_S = 20  # for one call: on a busy machine a password check may wait for others
START_S = 60  # for a server to start or to stop
STEP_S = 30  # one code's time
CODE_ON_ITS_WAY_S = 5

# A proxy from the environment would come between the tests and their own machine.
for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)


def _make_stubs():
    """Python stubs in a directory that is removed when the tests end."""
    into = tempfile.mkdtemp(prefix="otpchat-stubs-")
    atexit.register(shutil.rmtree, into, ignore_errors=True)
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"--python_out={into}",
               f"--grpc_python_out={into}", "auth.proto", "otp.proto", "messaging.proto"]
    subprocess.run(command, check=True, timeout=START_S)
    sys.path.insert(0, into)


_make_stubs()
# The stubs exist only from here on.
import auth_pb2  # noqa: E402
import auth_pb2_grpc  # noqa: E402
import messaging_pb2  # noqa: E402
import messaging_pb2_grpc  # noqa: E402
import otp_pb2  # noqa: E402
import otp_pb2_grpc  # noqa: E402


class Server:
    """A running otpchatd on a free port. `with Server() as server: ... server.address`"""

    # All tests of a class share one address.
    own_flags = ("--registrations-per-address", "10000")
    host = "localhost"
    # What the program is started by.
    prefix = ()

    def __init__(self, *flags, data_dir=None, log=None):
        self.own_dir = None if data_dir else tempfile.TemporaryDirectory(prefix="otpchat-data-")
        self.data_dir = Path(data_dir or self.own_dir.name)
        self.flags = flags
        self.log_path = Path(log or self.data_dir / "server.log")
        self.port = 0
        self.process = None

    def start(self):
        """Starts, or starts again on the port it had before."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OTPCHAT_")}
        command = [*self.prefix, OTPCHATD, "--listen", f"{self.host}:{self.port}", "--data-dir", str(self.data_dir),
                   *self.own_flags, *self.flags]
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self.log, text=True, encoding="utf-8")
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        prefix = "Server started on port "
        while True:
            line = self.lines.get(timeout=START_S)
            if line is None:
                code = self.process.wait(START_S)
                self._close()
                raise AssertionError(f"otpchatd ended with {code}:\n{self.log_text()}")
            if line.startswith(prefix):
                self.port = int(line[len(prefix):])
                return self

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def _close(self):
        self.reader.join(START_S)
        self.process.stdout.close()
        self.log.close()

    def stop(self):
        """Asks it to stop, as a service manager does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(START_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._close()

    def reload(self):
        """Makes it read its certificate again."""
        self.process.send_signal(signal.SIGHUP)

    def log_text(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def wait_for_log(self, pattern, seconds=30):
        """What `pattern` finds in the log, which the server writes on a thread of its own."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.log_text())):
            if time.monotonic() > end:
                raise AssertionError(f"the log never had {pattern!r}")
            time.sleep(0.02)
        return found

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.stop()
        if self.own_dir:
            self.own_dir.cleanup()


class Peer:
    """One connection of its own, with a stub for each service; by TLS where there are credentials."""

    def __init__(self, address, credentials=None):
        # Without a pool of its own, a second channel to one address would share the connection of the first.
        options = [("grpc.use_local_subchannel_pool", 1)]
        if credentials is None:
            self.attach(grpc.insecure_channel(address, options=options))
        else:
            self.attach(grpc.secure_channel(address, credentials, options=options))

    def attach(self, channel):
        self.channel = channel
        self.auth = auth_pb2_grpc.AuthStub(self.channel)
        self.otp = otp_pb2_grpc.OtpStub(self.channel)
        self.messaging = messaging_pb2_grpc.MessagingStub(self.channel)

    def close(self):
        self.channel.close()

    def register(self, login, password, **more):
        return self.auth.Register(auth_pb2.RegisterRequest(login=login, password=password), timeout=CALL_S, **more)

    def log_in(self, login, password, otp="", patience=CALL_S, **more):
        request = auth_pb2.LoginRequest(login=login, password=password, otp=otp)
        return self.auth.Login(request, timeout=patience, **more)

    def log_out(self, *tokens):
        return self.auth.Logout(auth_pb2.LogoutRequest(), timeout=CALL_S, metadata=metadata(tokens))

    def init_otp(self, login, *tokens, **fields):
        request = otp_pb2.RequestInitOtp(login=login, **fields)
        return self.otp.InitOtp(request, timeout=CALL_S, metadata=metadata(tokens))

    def check_otp(self, login, code, *tokens):
        request = otp_pb2.RequestCheckOtp(login=login, otp=code)
        return self.otp.CheckOtp(request, timeout=CALL_S, metadata=metadata(tokens))

    def send(self, text, *tokens, author="", patience=CALL_S):
        message = messaging_pb2.Message(author=author, text=text)
        return self.messaging.SendMessage(message, timeout=patience, metadata=metadata(tokens))

    def stream(self, *tokens):
        return self.messaging.MessageStream(messaging_pb2.Empty(), metadata=metadata(tokens))


class Listener:
    """An open MessageStream that a thread reads into a queue; `end` is the status it ended with."""

    def __init__(self, stream):
        self.stream = stream
        self.messages = queue.Queue()
        self.end = queue.Queue()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            for message in self.stream:
                self.messages.put(message)
            self.end.put(None)
        except grpc.RpcError as error:
            self.end.put(error)

    def next(self, seconds=CALL_S):
        return self.messages.get(timeout=seconds)

    def wait_until_subscribed(self, send):
        """A client cannot see that its stream is open before the first message comes: sends until one arrives, and
        takes those that were sent on the way out of the queue."""
        deadline = time.monotonic() + CALL_S
        last = None
        while time.monotonic() < deadline:
            last = send().id
            try:
                message = self.next(0.2)
            except queue.Empty:
                continue
            while str(message.id) != last:
                message = self.next()
            return
        raise AssertionError("no message ever arrived on the stream")

    def ended_with(self):
        error = self.end.get(timeout=CALL_S)
        assert error is not None, "the stream ended as if all was well"
        return error

    def close(self):
        self.stream.cancel()
        self.thread.join(CALL_S)


class Authenticator:
    """The authenticator: reads the text of the QR code and shows codes. It never gives the same code twice."""

    def __init__(self, uri):
        self.uri = uri
        self.totp = pyotp.parse_uri(uri)
        self.last_step = 0

    def code_of(self, step):
        return self.totp.generate_otp(step)

    def fresh_code(self):
        """A code the server has not seen: the current one, or the next, which it accepts as well."""
        now = int(time.time()) // STEP_S
        step = max(now, self.last_step + 1)
        assert step <= now + 1, "a test may use two codes of one account: a third would have to wait"
        self.last_step = step
        return self.code_of(step)

    def early_code(self):
        """The oldest code that the server accepts for some seconds yet and has not seen, so that two newer ones remain."""
        self.last_step = max(int(time.time() + CODE_ON_ITS_WAY_S) // STEP_S - 1, self.last_step + 1)
        return self.code_of(self.last_step)

    def last_code(self):
        return self.code_of(self.last_step)

    def wrong_code(self):
        """Six digits that are no code of any step near now."""
        now = int(time.time()) // STEP_S
        near = {self.code_of(step) for step in range(now - 4, now + 5)}
        return next(code for code in (f"{n:06}" for n in range(100)) if code not in near)

    def secret(self):
        return urllib.parse.parse_qs(urllib.parse.urlparse(self.uri).query)["secret"][0]


def metadata(tokens):
    return [("token", token) for token in tokens]


def error_info(error):
    """The ErrorInfo of a failed call, after its google.rpc.Status was compared with the call's own status."""
    values = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
    assert len(values) == 1, f"no google.rpc.Status beside {error.code()}: {error.details()}"
    status = status_pb2.Status.FromString(values[0])
    assert status.code == error.code().value[0], (status.code, error.code())
    assert status.message == error.details(), (status.message, error.details())
    infos = _unpacked(status, error_details_pb2.ErrorInfo)
    assert len(infos) == 1, status
    assert infos[0].domain == "grpc-otp-chat", infos[0]
    return infos[0]


def broken_fields(error):
    """The names of the fields that a failed call complains about."""
    values = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
    requests = _unpacked(status_pb2.Status.FromString(values[0]), error_details_pb2.BadRequest)
    return [violation.field for request in requests for violation in request.field_violations]


def _unpacked(status, kind):
    found = []
    for detail in status.details:
        message = kind()
        if detail.Unpack(message):
            found.append(message)
    return found
