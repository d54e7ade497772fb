"""Crowds over HTTP: uploads that are refused, probes beside 2,000 watchers, and what watchers cost.

    ulimit -Sn 8192; python3 tests/http/crowd.py target/release/rumormill [uploads probes memory idle]
"""

import contextlib
import sys
import threading
import time

from daemon import daemon, settled

UPLOADS = 100


def uploads(node):
    """PUT of 20 MiB, sent whole before anything is read: each has to end in a 413."""
    body = b"x" * (20 << 20)
    answers = {}
    begin = time.monotonic()
    for _ in range(UPLOADS):
        try:
            status, _ = node.ask("PUT", "/v1/usr/t/k", body)
        except OSError as error:
            status = type(error).__name__
        answers[status] = answers.get(status, 0) + 1
    print(f"uploads: PUT of 20 MiB, {UPLOADS} times: {answers}, {time.monotonic() - begin:.1f} s")
    assert answers == {413: UPLOADS}, answers


def probes(node):
    """2,000 watchers, and connections that never end a request; probes all the while."""
    watchers = [node.watch("/v1/usr/t?watch") for _ in range(2_000)]
    ending = threading.Event()
    slow = []

    def never_ask():
        while not ending.is_set():
            try:
                sock = node.connect()
                sock.sendall(b"GET /healthz HT")
                slow.append(sock)
                if len(slow) > 400:
                    slow.pop(0).close()
            except OSError:
                pass
            time.sleep(0.005)

    attacker = threading.Thread(target=never_ask)
    attacker.start()
    times, failures = [], []
    for n in range(200):
        path = ["/healthz", "/readyz", "/metrics"][n % 3]
        begin = time.monotonic()
        try:
            status, _ = node.ask("GET", path, timeout=5)
        except OSError as error:
            status = type(error).__name__
        times.append(time.monotonic() - begin)
        if status != 200:
            failures.append((path, status))
    ending.set()
    attacker.join()
    connections, watching = node.metric("http_connections"), node.metric("http_watchers")
    print(f"probes: beside {connections:.0f} connections ({watching:.0f} watch; 2,000 wanted to) and 200 silent ones a second:")
    times.sort()
    print(f"  {200 - len(failures)} of 200 answered with 200, median {times[100] * 1000:.1f} ms, slowest {times[-1] * 1000:.1f} ms")
    for line in node.ask("GET", "/metrics")[1].splitlines():
        if line.startswith("rumormill_http_rejected_total"):
            print(f"  {line}")
    for sock in watchers + slow:
        sock.close()
    assert not failures, failures


def memory(node):
    """Watchers that read nothing of what they ask for."""
    for watchers, rows, size in [(4, 200, 1 << 20), (1_000, 20_000, 100)]:
        table = f"/v1/usr/t{watchers}"
        first = node.watch(f"{table}?watch")
        cursor = first.recv(4096).split(b"id: ")[1].split(b"\n")[0].decode()
        first.close()
        fill(node, table, rows, b"x" * size)
        time.sleep(1)
        before = node.resident()
        socks = [node.watch(f"{table}?watch&cursor={cursor}", receive_buffer=4096) for _ in range(watchers)]
        most = settled(node.resident, 8)
        print(f"memory: {watchers} watchers that read nothing of {rows} rows of {size} bytes: {before:.0f} MiB before, {most:.0f} at most")
        for sock in socks:
            sock.close()
        time.sleep(1)


def fill(node, table, rows, value):
    """Writes rows on one connection."""
    with contextlib.closing(node.connect()) as sock:
        for n in range(rows):
            head = f"PUT {table}/k{n} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(value)}\r\n\r\n"
            sock.sendall(head.encode() + value)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += sock.recv(4096)
            assert b" 201 " in answer, answer


def idle(node):
    """Watchers while nothing happens, and while one row a second changes."""
    socks = [node.watch("/v1/usr/idle?watch") for _ in range(500)]
    time.sleep(2)
    begin = node.cpu()
    time.sleep(10)
    print(f"idle: 500 watchers for 10 s: {(node.cpu() - begin) * 10:.2f} % of a core")
    for sock in socks:
        sock.close()
    time.sleep(1)
    begin = node.cpu()
    time.sleep(10)
    print(f"idle: none for 10 s: {(node.cpu() - begin) * 10:.2f} % of a core")


if __name__ == "__main__":
    known = {"uploads": uploads, "probes": probes, "memory": memory, "idle": idle}
    for name in sys.argv[2:] or known:
        with daemon(sys.argv[1]) as node:
            known[name](node)
