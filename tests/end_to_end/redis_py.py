"""Does with redis-py, with django-redis if it is there, and on a bare socket as ioredis would, what their users do, and prints a transcript.

    python3 tests/end_to_end/redis_py.py PORT [needed]

Prints "missing" where there is no redis-py. With "needed" all packages have to be there.
"""

import socket
import sys

PORT = int(sys.argv[1])
IS_NEEDED = sys.argv[2:] == ["needed"]

try:
    import redis
except ImportError:
    if IS_NEEDED:
        raise
    print("missing")
    sys.exit(0)

client = redis.Redis(port=PORT, decode_responses=True)
client.flushall()


def show(text, got, expected):
    print(f"{text} -> {got!r}")
    assert got == expected, expected


def fails(text, error, call):
    try:
        got = call()
    except error as why:
        print(f"{text} -> {type(why).__name__}: {why}")
        return
    raise AssertionError(f"{text} -> {got!r}")


def pipelines():
    pipe = client.pipeline()
    pipe.set("a", 1).get("a").hset("h", mapping={"f": "1"}).hgetall("h")
    text = "pipeline().set('a', 1).get('a').hset('h', {'f': '1'}).hgetall('h').execute()"
    show(text, pipe.execute(), [True, "1", 1, {"f": "1"}])

    pipe = client.pipeline()
    pipe.set("b", 1).lpush("b", 1)
    fails("pipeline().set('b', 1).lpush('b', 1).execute()", redis.ResponseError, pipe.execute)
    show("get('b')", client.get("b"), None)

    pipe = client.pipeline()
    pipe.set("b", 1).hget("a", "f").set("b", 2)
    fails("pipeline().set('b', 1).hget('a', 'f').set('b', 2).execute()", redis.ResponseError, pipe.execute)
    show("get('b')", client.get("b"), "2")

    pipe = client.pipeline(transaction=False)
    for n in range(5_000):
        pipe.set(f"many{n}", n)
    show("pipeline(transaction=False), 5,000 times set", set(pipe.execute()), {True})
    for n in range(1_000):
        pipe = client.pipeline() if n == 0 else pipe
        pipe.set(f"many{n}", "x")
    show("pipeline(), 1,000 times set", set(pipe.execute()), {True})


def watches():
    with client.pipeline() as pipe:
        pipe.watch("a")
        client.set("a", "other")
        pipe.multi()
        pipe.set("a", "mine")
        fails("watch('a'), set by another, multi(), set('a', 'mine'), execute()", redis.WatchError, pipe.execute)
    show("get('a')", client.get("a"), "other")
    with client.pipeline() as pipe:
        pipe.watch("a")
        pipe.multi()
        pipe.set("a", "mine")
        show("the same without the other", pipe.execute(), [True])

    conflicts = 0

    def increment(pipe):
        nonlocal conflicts
        count = int(pipe.get("n") or 0)
        if conflicts < 3:
            conflicts += 1
            client.set("n", count + 10)
        pipe.multi()
        pipe.set("n", count + 1)

    client.set("n", 0)
    for _ in range(20):
        client.transaction(increment, "n")
    show("transaction(increment, 'n') 20 times, 3 of them disturbed by + 10", client.get("n"), "50")


class Raw:
    """A connection that shows what is sent and what is heard."""

    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=10)

    def say(self, *commands, expected):
        stream = b""
        for line in commands:
            words = line.split()
            stream += b"*%d\r\n" % len(words)
            stream += b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)
        self.socket.sendall(stream)
        heard = b""
        while len(heard) < len(expected):
            part = self.socket.recv(1 << 16)
            assert part, heard
            heard += part
        print(f"sent {stream!r}\n  heard {heard!r}")
        assert heard == expected, expected


def discard():
    raw = Raw()
    raw.say("SET k 0", "MULTI", "SET k 1", "DISCARD", "GET k", expected=b"+OK\r\n+OK\r\n+QUEUED\r\n+OK\r\n$1\r\n0\r\n")


def ioredis():
    """ioredis 5 writes commands in lower case: `multi()` as one pipeline, and `multi({ pipeline: false })` one by one."""
    raw = Raw()
    heard = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$3\r\nbar\r\n"
    raw.say("multi", "set foo bar", "get foo", "exec", expected=heard)
    raw.say("multi", expected=b"+OK\r\n")
    raw.say("set foo baz", expected=b"+QUEUED\r\n")
    raw.say("get foo", expected=b"+QUEUED\r\n")
    raw.say("exec", expected=b"*2\r\n+OK\r\n$3\r\nbaz\r\n")
    # Of `multi().set("foo").set("foo", "new").exec()` nothing is carried out.
    wrong = b"-ERR wrong number of arguments for 'set' command\r\n"
    aborted = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
    heard = b"+OK\r\n" + wrong + b"+QUEUED\r\n" + aborted + b"$3\r\nbaz\r\n"
    raw.say("multi", "set foo", "set foo new", "exec", "get foo", expected=heard)
    # `watch("foo")`, and another client before `exec`.
    raw.say("watch foo", expected=b"+OK\r\n")
    client.set("foo", "other")
    raw.say("multi", "set foo mine", "exec", expected=b"+OK\r\n+QUEUED\r\n*-1\r\n")


def django():
    from django.conf import settings

    location = f"redis://127.0.0.1:{PORT}/0"
    backend = "django_redis.cache.RedisCache"
    settings.configure(CACHES={"default": {"BACKEND": backend, "LOCATION": location}})
    from django.core.cache import cache

    print("cache.set_many({'q': 1, 'w': [1, 2]}, timeout=300)")
    cache.set_many({"q": 1, "w": [1, 2]}, timeout=300)
    show("cache.get_many(['q', 'w', 'e'])", cache.get_many(["q", "w", "e"]), {"q": 1, "w": [1, 2]})
    assert 290 < cache.ttl("q") <= 300
    show("cache.add('q', 2), the key being there", cache.add("q", 2), False)
    cache.delete_many(["q", "w"])
    show("cache.get_many(['q', 'w']) after delete_many", cache.get_many(["q", "w"]), {})


print(f"== redis-py {redis.__version__}")
pipelines()
watches()
print("== a bare socket")
discard()
ioredis()
try:
    import django_redis
except ImportError:
    if IS_NEEDED:
        raise
else:
    print(f"== django-redis {django_redis.__version__}")
    django()
print("== all")
