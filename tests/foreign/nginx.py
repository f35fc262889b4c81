"""nginx in front of a server, on a free port, as nginx/otpchatd.conf has it."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

CONFIGURATION = Path(__file__).resolve().parents[2] / "nginx" / "otpchatd.conf"
PROGRAM = os.environ.get("NGINX") or shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
START_S = 30


def certificate(directory, name="localhost"):
    """A key and a certificate signed with it, valid for a day."""
    key, chain = Path(directory) / "key.pem", Path(directory) / "chain.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
               "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", chain]
    subprocess.run(command, check=True, capture_output=True, timeout=START_S)
    return key, chain


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Nginx:
    """`with Nginx(server_port) as nginx: ... nginx.port`, with or without TLS."""

    def __init__(self, server_port, tls=True):
        self.server_port, self.tls = server_port, tls
        self.port = free_port()

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="otpchat-nginx-")
        home = Path(self.directory.name)
        key, self.chain = certificate(home)
        text = CONFIGURATION.read_text(encoding="utf-8")
        changes = (
            (r"listen 443 ", f"listen 127.0.0.1:{self.port} "),
            (r"\n *listen \[::\]:443 [^\n]*", ""),
            (r"127\.0\.0\.1:50051", f"127.0.0.1:{self.server_port}"),
            (r"/etc/letsencrypt/\S*fullchain\.pem", str(self.chain)),
            (r"/etc/letsencrypt/\S*privkey\.pem", str(key)),
        ) + (() if self.tls else ((r" ssl http2", " http2"),))
        for pattern, new in changes:
            text, count = re.subn(pattern, new, text)
            assert count == 1, f"{CONFIGURATION}: {pattern} is there {count} times"
        (home / "otpchatd.conf").write_text(text, encoding="utf-8")
        temporary = "".join(f"  {what}_temp_path {home}/{what};\n"
                            for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (home / "nginx.conf").write_text(
            ("user root;\n" if os.geteuid() == 0 else "")
            + f"daemon off;\nworker_processes 2;\npid {home}/pid;\nerror_log {home}/error.log;\n"
            + "worker_rlimit_nofile 16384;\nevents { worker_connections 8192; }\n"
            + f"http {{\n  access_log off;\n{temporary}  include {home}/otpchatd.conf;\n}}\n", encoding="utf-8")
        (home / "error.log").touch()
        self.log = open(home / "output", "wb")
        self.process = subprocess.Popen([PROGRAM, "-p", home, "-e", home / "error.log", "-c", home / "nginx.conf"],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait(self):
        until = time.monotonic() + START_S
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                said = (Path(self.directory.name) / "output").read_text() + self.said()
                assert self.process.poll() is None and time.monotonic() < until, f"nginx did not start:\n{said}"
                time.sleep(0.05)

    def said(self):
        return (Path(self.directory.name) / "error.log").read_text(encoding="utf-8")

    def pids(self):
        """The master and its workers."""
        master = self.process.pid
        return [master, *map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split())]

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(START_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.directory.cleanup()
