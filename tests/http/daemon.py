"""A daemon on free ports, for the scripts beside this file."""

import contextlib
import json
import socket
import subprocess
import time


class Daemon:
    def __init__(self, binary, redis="off", data=None, log=subprocess.DEVNULL):
        arguments = ["serve", "--json", "--stop-on-eof", "--redis", redis]
        arguments += ["--data-dir", data] if data else ["--memory"]
        arguments += ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [binary, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        ready = json.loads(self.process.stdout.readline())
        self.address = ready["http"]
        host, port = self.address.rsplit(":", 1)
        self.at = (host, int(port))
        if redis != "off":
            host, port = ready["redis"].rsplit(":", 1)
            self.redis = (host, int(port))

    def connect(self, timeout=30):
        return socket.create_connection(self.at, timeout=timeout)

    def ask(self, method, path, body=b"", timeout=30):
        """Status and whole answer, on a connection of its own."""
        with contextlib.closing(self.connect(timeout)) as sock:
            head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
            sock.sendall(head.encode() + body)
            answer = b""
            while part := sock.recv(1 << 20):
                answer += part
        return int(answer.split(b" ", 2)[1]), answer.split(b"\r\n\r\n", 1)[1].decode(errors="replace")

    def watch(self, path, receive_buffer=None):
        """A socket on which a watch was asked for."""
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(30)
        sock.connect(self.at)
        sock.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        return sock

    def metric(self, name):
        for line in self.ask("GET", "/metrics")[1].splitlines():
            if line.startswith(f"rumormill_{name} "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def resident(self):
        """Resident memory, in MiB."""
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * 4096 / (1 << 20)

    def cpu(self):
        """Seconds of CPU so far."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()


@contextlib.contextmanager
def daemon(binary, redis="off"):
    running = Daemon(binary, redis)
    try:
        yield running
    finally:
        running.stop()


def settled(read, seconds=2.0):
    """The largest of several readings."""
    end, most = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        most = max(most, read())
        time.sleep(0.05)
    return most
