"""A node on a file system of 32 MiB: refused writes, served reads and deletes, and recovery when there is space, without a restart.

    python3 tests/http/full_disk.py target/release/rumormill

Mounts the file system in a user namespace of its own; says "skipped" where the system gives none.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time

from daemon import Daemon

MIB = 1 << 20
VALUE = b"v" * 10_000


class Redis:
    """A connection that sends one command at a time."""

    def __init__(self, node):
        self.sock = socket.create_connection(node.redis, timeout=60)
        self.replies = self.sock.makefile("rb")

    def send(self, *words):
        self.sock.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        line = self.replies.readline().rstrip()
        if line[:1] != b"$":
            return line
        length = int(line[1:])
        return None if length < 0 else self.replies.read(length + 2)[:-2]


def said(why):
    print(why, flush=True)


def fill(redis, table, prefix, value=VALUE):
    """Writes rows until one is refused; their keys."""
    keys = []
    while True:
        key = b"%s%06d" % (prefix, len(keys))
        reply = redis.send(b"HSET", table, key, value)
        if reply.startswith(b"-"):
            assert reply.startswith(b"-OOM"), reply
            return keys
        assert reply == b":1", reply
        keys.append(key)
        assert len(keys) < 1_000_000, "the disk is not full"


def delete(redis, table, keys):
    for key in keys:
        reply = redis.send(b"HDEL", table, key)
        assert reply == b":1", f"a delete is refused: {reply}"


def check(redis, table, there, gone=(), value=VALUE):
    for key in there:
        assert redis.send(b"HGET", table, key) == value, f"{key} is not there"
    for key in gone:
        assert redis.send(b"HGET", table, key) is None, f"{key} is back"


def await_ready(node, wanted, seconds=60):
    """Waits until the probe answers so; how long that took."""
    begun = time.monotonic()
    while (answer := node.ask("GET", "/readyz"))[0] != wanted:
        assert time.monotonic() - begun < seconds, f"/readyz answers {answer}"
        time.sleep(0.05)
    assert node.metric("store_stalled") == float(wanted != 200)
    return time.monotonic() - begun, answer[1]


def free(path):
    about = os.statvfs(path)
    return about.f_bavail * about.f_frsize


def take(path, leave):
    """Takes space with a file of another program."""
    with open(path, "wb") as out:
        while (left := free(os.path.dirname(path)) - leave) > 0:
            out.write(bytes(min(left, MIB)))
            out.flush()


def create(node):
    for durability in ("sync", "periodic"):
        body = b'{"name":"%s","durability":"%s"}' % (durability.encode(), durability.encode())
        status, answer = ask_json(node, "/v1/tables", body)
        assert status == 201, answer


def ask_json(node, path, body):
    with contextlib.closing(node.connect()) as sock:
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n"
        sock.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = b""
        while part := sock.recv(1 << 20):
            answer += part
    return int(answer.split(b" ", 2)[1]), answer.decode(errors="replace")


def by_deletes(node):
    """Deletes alone give the space back."""
    redis = Redis(node)
    keys = fill(redis, b"sync", b"a")
    _, why = await_ready(node, 503)
    said(f"full after {len(keys)} rows: {why.strip()}")
    assert redis.send(b"SET", b"x", b"y").startswith(b"-OOM")
    check(redis, b"sync", keys)
    kept, gone = keys[:50], keys[50:]
    delete(redis, b"sync", gone)
    check(redis, b"sync", kept, gone)
    took, _ = await_ready(node, 200)
    said(f"{len(gone)} rows deleted while it was full; space again {took:.1f} s later")
    more = fill(redis, b"sync", b"b")
    assert len(more) > len(keys) // 2, f"{len(more)} rows fit after {len(keys)}"
    said(f"{len(more)} more rows then fit")
    delete(redis, b"sync", more)
    await_ready(node, 200)
    check(redis, b"sync", kept, gone + more)
    return kept


def by_space(node, mount, kept):
    """Another program takes the space, and gives it back."""
    redis = Redis(node)
    foreign = os.path.join(mount, "foreign")
    take(foreign, 64 << 10)
    small = fill(redis, b"periodic", b"c", b"small")
    await_ready(node, 503)
    check(redis, b"periodic", small, value=b"small")
    gone = small[: len(small) // 4]
    delete(redis, b"periodic", gone)
    said(f"another file took the space: {len(small)} small rows fit, {len(gone)} of them deleted while it was full")
    # What is kept back ends as well. A delete of a row that is there takes a record, one of none takes none.
    refused = None
    while refused is None:
        for key in small[len(gone) :]:
            reply = redis.send(b"HDEL", b"periodic", key)
            if reply.startswith(b"-"):
                refused = reply
                break
        else:
            break
    said(f"deletes until nothing was left: {refused or 'all were stored'}")
    os.remove(foreign)
    took, _ = await_ready(node, 200)
    said(f"space again {took:.1f} s after that file was removed")
    fresh = [b"d%06d" % n for n in range(100)]
    for key in fresh:
        assert redis.send(b"HSET", b"sync", key, VALUE) == b":1"
    check(redis, b"sync", kept + fresh)
    check(redis, b"periodic", [], gone)
    return kept + fresh, gone


def killed(binary, data, mount, there, gone):
    """A node that was killed on a full disk starts on it, and serves reads and deletes."""
    node = Daemon(binary, "127.0.0.1:0", data, sys.stderr)
    redis = Redis(node)
    check(redis, b"sync", there)
    take(os.path.join(mount, "foreign"), 0)
    fill(redis, b"sync", b"e", b"small")
    node.process.kill()
    node.process.wait()
    node = Daemon(binary, "127.0.0.1:0", data, sys.stderr)
    redis = Redis(node)
    check(redis, b"sync", there)
    check(redis, b"periodic", [], gone)
    refused = fill(redis, b"sync", b"f", b"small")
    delete(redis, b"sync", there[:10])
    said(f"killed and started on the full disk: {len(refused)} small rows fit, then deletes alone")
    os.remove(os.path.join(mount, "foreign"))
    took, _ = await_ready(node, 200)
    said(f"space again {took:.1f} s later")
    check(redis, b"sync", there[10:], there[:10])
    node.stop()


def main(binary):
    mount = tempfile.mkdtemp(prefix="rumormill-full-")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", mount], check=True)
    data = os.path.join(mount, "data")
    node = Daemon(binary, "127.0.0.1:0", data, sys.stderr)
    try:
        create(node)
        kept = by_deletes(node)
        there, gone = by_space(node, mount, kept)
        node.process.kill()
        node.process.wait()
        killed(binary, data, mount, there, gone)
    finally:
        node.process.kill()
    said("a full disk: all as promised")


if sys.argv[1] == "inside":
    main(sys.argv[2])
else:
    separate = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*separate, "true"], stderr=subprocess.DEVNULL).returncode != 0:
        said("skipped: this system gives no user namespace, so no file system of 32 MiB can be mounted")
    else:
        inside = [sys.executable, os.path.abspath(__file__), "inside", os.path.abspath(sys.argv[1])]
        sys.exit(subprocess.run([*separate, *inside]).returncode)
