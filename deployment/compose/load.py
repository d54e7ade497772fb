#!/usr/bin/env python3
"""Writes through the published ports of members, and looks for each acknowledged write on all of them. Python's own library is enough.

load.py write --seconds N --rate N --run NAME --acknowledged FILE [--retry] REDIS/HTTP...
load.py check --wait N --acknowledged FILE REDIS/HTTP...

REDIS and HTTP are HOST:PORT of one member. The rows are in the table `chaos`, of durability `sync`. Exit code 1: a write was lost,
failed although it was tried again, or the members differ after the wait. Exit code 2: wrong usage.
"""

import argparse
import collections
import hashlib
import json
import socket
import sys
import threading
import time
import urllib.error
import urllib.request

TABLE = "chaos"
PATIENCE = 2.0
# The longest line of a reply, and the longest value.
LONGEST = 1 << 20


class Refused(Exception):
    """An error reply; its first word is the reason."""


class Redis:
    """A connection that says Redis commands. Memory: one reply."""

    def __init__(self, addr):
        host, port = addr.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), PATIENCE)
        self.file = self.socket.makefile("rb")

    def close(self):
        """Ends the connection."""
        self.file.close()
        self.socket.close()

    def ask(self, *words):
        """Sends one command and returns its reply. Raises `OSError` where there is none, `Refused` for an error."""
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            text = word.encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(text), text))
        self.socket.sendall(b"".join(parts))
        return self.reply()

    def reply(self):
        """Reads one reply."""
        line = self.file.readline(LONGEST)
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection ended")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise Refused(rest.decode(errors="replace").split(" ", 1)[0])
        if kind in (b"+", b":"):
            return rest.decode()
        size = int(rest)
        if kind == b"*":
            return [self.reply() for _ in range(size)]
        if kind != b"$" or size > LONGEST:
            raise ConnectionError("an unexpected reply")
        if size < 0:
            return None
        body = self.file.read(size + 2)
        if len(body) != size + 2:
            raise ConnectionError("the connection ended")
        return body[:-2].decode()


def fetch(http, path, body=None):
    """Returns the JSON answer to a GET, or to a POST of `body`."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://{http}{path}", data, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def prepare(nodes):
    """Creates the table, and waits until each member knows that it syncs."""
    fetch(nodes[0][1], "/v1/tables", {"name": TABLE, "durability": "sync"})
    until = time.monotonic() + 30
    for _, http in nodes:
        while True:
            tables = fetch(http, "/v1/tables")["tables"]
            if any(table["name"] == TABLE and table["durability"] == "sync" for table in tables):
                break
            if time.monotonic() > until:
                sys.exit(f"the member at {http} has no table {TABLE} that syncs")
            time.sleep(0.1)


def value_of(key):
    """Returns the value that is written under a key: 64 digits, some of them several times."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return digest * (1 + int(digest[0], 16) % 4)


class Writer(threading.Thread):
    """Writes through one member, one key after the other, and records what was acknowledged. With `retry` it asks the next member once for
    each write that was refused or had no answer, and counts as failed what is refused or unanswered there as well."""

    def __init__(self, name, addrs, until, rate, retry, record):
        super().__init__()
        self.name, self.addrs, self.until, self.pause = name, addrs, until, 1 / rate
        self.retry, self.record = retry, record
        self.links = {}
        self.counts = collections.Counter()

    def ask(self, addr, key):
        """Writes one row through a member, and returns why it was not acknowledged."""
        try:
            if addr not in self.links:
                self.links[addr] = Redis(addr)
            self.links[addr].ask("HSET", TABLE, key, value_of(key))
            return None
        except Refused as reason:
            return f"refused {reason}"
        except OSError:
            # The write may have taken effect. Its key has no other value.
            if addr in self.links:
                self.links.pop(addr).close()
            return "without an answer"

    def run(self):
        number = 0
        while time.monotonic() < self.until:
            number += 1
            key = f"{self.name}:{number}"
            trouble = self.ask(self.addrs[0], key)
            if trouble and self.retry:
                self.counts["asked of another"] += 1
                trouble = self.ask(self.addrs[1], key) and "failed"
            if trouble is None:
                self.record(key)
            self.counts[trouble or "acknowledged"] += 1
            time.sleep(self.pause)
        for link in self.links.values():
            link.close()


def write(args, nodes):
    """Writes for a time through all members at once, and prints how many writes had which outcome."""
    prepare(nodes)
    print("the load begins", flush=True)
    until = time.monotonic() + args.seconds
    lock = threading.Lock()
    with open(args.acknowledged, "w", encoding="utf-8") as file:

        def record(key):
            with lock:
                file.write(key + "\n")

        addrs = [redis for redis, _ in nodes]
        writers = [
            Writer(f"{args.run}:{at}", addrs[at:] + addrs[:at], until, args.rate, args.retry, record)
            for at in range(len(nodes))
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    counts = sum((writer.counts for writer in writers), collections.Counter())
    print("writes: " + ", ".join(f"{counts[word]} {word}" for word in sorted(counts)))
    return 0 if counts["acknowledged"] and not counts["failed"] else 1


def dump(addr):
    """Returns all rows of the table on one member."""
    link, rows, cursor = Redis(addr), {}, "0"
    try:
        while True:
            cursor, flat = link.ask("HSCAN", TABLE, cursor, "COUNT", "1000")
            rows.update(zip(flat[::2], flat[1::2]))
            if cursor == "0":
                return rows
    finally:
        link.close()


def compare(acknowledged, nodes):
    """Returns the rows of each member, and for each the acknowledged keys that it lacks or has with another value."""
    tables = [dump(redis) for redis, _ in nodes]
    bad = [[key for key in acknowledged if rows.get(key) != value_of(key)] for rows in tables]
    return tables, bad


def check(args, nodes):
    """Waits until all members have every acknowledged write and the same rows, and prints counts."""
    with open(args.acknowledged, encoding="utf-8") as file:
        acknowledged = file.read().split()
    if not acknowledged:
        sys.exit("no write was acknowledged: there is nothing to check")
    begun = time.monotonic()
    while True:
        trouble = None
        try:
            tables, bad = compare(acknowledged, nodes)
            equal = all(rows == tables[0] for rows in tables)
            if equal and not any(bad):
                break
        except (OSError, Refused) as error:
            trouble = error
        if time.monotonic() - begun > args.wait:
            if trouble:
                sys.exit(f"a member does not answer: {trouble}")
            break
        time.sleep(0.5)
    took = time.monotonic() - begun
    lost = set().union(*bad)
    print(f"lost: {len(lost)} of {len(acknowledged)} acknowledged writes, each looked for on {len(nodes)} members")
    for (redis, _), rows, keys in zip(nodes, tables, bad):
        print(f"  {redis}: {len(rows)} rows, {len(keys)} acknowledged ones missing or wrong {keys[:3] or ''}".rstrip())
    print(f"members: {'equal' if equal else 'different'} after {took:.1f} s")
    return 0 if equal and not lost else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    writing = commands.add_parser("write")
    writing.add_argument("--seconds", type=float, required=True)
    writing.add_argument("--rate", type=float, required=True, help="writes a second through each member, at most")
    writing.add_argument("--run", required=True, help="the beginning of each key")
    writing.add_argument("--retry", action="store_true", help="ask the next member once")
    writing.set_defaults(do=write)
    checking = commands.add_parser("check")
    checking.add_argument("--wait", type=float, required=True)
    checking.set_defaults(do=check)
    for command in (writing, checking):
        command.add_argument("--acknowledged", required=True, help="the file of acknowledged keys")
        command.add_argument("nodes", nargs="+", metavar="REDIS/HTTP")
    args = parser.parse_args()
    nodes = [tuple(node.split("/", 1)) for node in args.nodes]
    if len(nodes) < 2 or any(len(node) != 2 for node in nodes):
        parser.error("give two members or more, each as REDIS/HTTP")
    try:
        sys.exit(args.do(args, nodes))
    except (urllib.error.URLError, OSError) as error:
        sys.exit(f"a member does not answer: {error}")


if __name__ == "__main__":
    main()
