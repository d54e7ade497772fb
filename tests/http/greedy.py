"""Redis clients that ask for much and read nothing, beside one that PINGs: what it waits, and what they cost in memory.

    python3 tests/http/greedy.py target/release/rumormill [ROWS]
"""

import contextlib
import socket
import subprocess
import sys
import time

from daemon import daemon

CLIENTS = 60
SECONDS = 60

PINGER = """
import socket, sys, time
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
end, took = time.monotonic() + float(sys.argv[2]), []
while time.monotonic() < end:
    began = time.perf_counter()
    sock.sendall(b"PING\\r\\n")
    assert sock.recv(64) == b"+PONG\\r\\n"
    took.append(time.perf_counter() - began)
    time.sleep(0.01)
took.sort()
print(len(took), took[len(took) // 2] * 1e3, took[len(took) * 999 // 1000] * 1e3, took[-1] * 1e3)
"""


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def load(node, rows):
    with contextlib.closing(socket.create_connection(node.redis)) as sock:
        replies = sock.makefile("rb")
        for begin in range(0, rows, 1_000):
            pairs = [word for n in range(begin, begin + 1_000) for word in (b"field%07d" % n, b"value%07d" % n)]
            sock.sendall(command(b"HSET", b"hash", *pairs))
            assert replies.readline() == b":1000\r\n"


def ask(node):
    sock = socket.create_connection(node.redis)
    sock.sendall(3 * command(b"HGETALL", b"hash"))
    return sock


def pings(node, seconds):
    arguments = [sys.executable, "-c", PINGER, str(node.redis[1]), str(seconds)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def say(what, figures):
    """Prints what a pinger has found; its p99.9 in milliseconds."""
    count, middle, high, longest = (float(word) for word in figures.split())
    print(f"{what}, {count:.0f} times: median {middle:.2f} ms, p99.9 {high:.2f} ms, longest {longest:.2f} ms")
    return high


def main(binary, rows=1_000_000):
    with daemon(binary, "127.0.0.1:0") as node:
        load(node, rows)
        loaded = node.resident()
        alone = pings(node, 10).stdout.read()
        slow = node.metric("slow_turns_total")
        pinger = pings(node, SECONDS)
        greedy = [ask(node) for _ in range(CLIENTS)]
        most = held = 0
        while pinger.poll() is None:
            most = max(most, node.resident())
            held = max(held, node.metric("client_output_bytes"))
            time.sleep(0.1)
        closed = int(node.metric("clients_closed_for_memory_total"))
        del greedy
        print(f"{CLIENTS} clients read nothing of 3 HGETALL of {rows:,} rows; {closed} were closed for memory within {SECONDS} s")
        slow = node.metric("slow_turns_total") - slow
        noise = say("PING beside nothing", alone)
        high = say("PING beside them", pinger.stdout.read())
        print(f"turns of the loop above 5 ms: {slow:.0f}")
        print(f"memory: {loaded:.0f} MiB loaded, {most:.0f} MiB at most; booked for clients: {held / (1 << 20):.0f} MiB at most")
        # On a machine with other work PING waits for that too.
        assert high <= max(5, 2 * noise), "PING waits too long"
        assert most <= loaded + 768, "clients take too much memory"


main(sys.argv[1], *(int(rows) for rows in sys.argv[2:]))
