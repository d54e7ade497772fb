"""Runs a command beside a daemon of its own. The word REDIS in it becomes the port for Redis clients.

    python3 tests/http/alone.py target/release/rumormill python3 tests/end_to_end/redis_py.py REDIS needed
"""

import subprocess
import sys

from daemon import daemon

binary, *command = sys.argv[1:]
with daemon(binary, "127.0.0.1:0") as node:
    words = [str(node.redis[1]) if word == "REDIS" else word for word in command]
    sys.exit(subprocess.run(words).returncode)
