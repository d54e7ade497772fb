# Does with redis-py (and django-redis, if it is there) what their users do; prints one word per finding.
import sys

try:
    import redis
except ImportError:
    print("missing")
    sys.exit(0)

client = redis.Redis(port=int(sys.argv[1]), decode_responses=True)

pipe = client.pipeline()
pipe.set("a", 1).get("a").hset("h", mapping={"f": "1"}).hgetall("h")
assert pipe.execute() == [True, "1", 1, {"f": "1"}]

pipe = client.pipeline()
pipe.set("b", 1).lpush("b", 1)
try:
    pipe.execute()
    raise AssertionError("a refused command was carried out")
except redis.ResponseError:
    assert client.get("b") is None

with client.pipeline() as pipe:
    pipe.watch("a")
    client.set("a", "other")
    pipe.multi()
    pipe.set("a", "mine")
    try:
        pipe.execute()
        raise AssertionError("a watched key had changed")
    except redis.WatchError:
        assert client.get("a") == "other"


def increment(pipe):
    count = int(pipe.get("n") or 0)
    pipe.multi()
    pipe.set("n", count + 1)


for _ in range(20):
    client.transaction(increment, "n")
assert client.get("n") == "20"
print("redis-py")

try:
    from django.conf import settings

    location = f"redis://127.0.0.1:{sys.argv[1]}/0"
    backend = "django_redis.cache.RedisCache"
    settings.configure(CACHES={"default": {"BACKEND": backend, "LOCATION": location}})
    from django.core.cache import cache

    cache.set_many({"q": 1, "w": [1, 2]}, timeout=300)
    assert cache.get_many(["q", "w", "e"]) == {"q": 1, "w": [1, 2]}
    print("django-redis")
except ImportError:
    pass
