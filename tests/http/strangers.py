"""Requests made up from the description of the interface, by schemathesis: no answer is that of a broken server, and each is as described.

    python3 tests/http/strangers.py target/release/rumormill

Needs the packages in requirements.txt beside this file, with their commands on PATH. Routes that wait, dial or end a node are left out.
"""

import subprocess
import sys

from daemon import daemon

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"

if __name__ == "__main__":
    with daemon(sys.argv[1]) as node:
        command = ["st", "run", f"http://{node.address}/openapi.json", "--checks", CHECKS, "--max-examples", "15", "--seed", "1"]
        command += ["--exclude-path-regex", "(/peers|resume|evict|lost)", "--phases", "coverage,fuzzing"]
        command += ["--request-timeout", "3", "--suppress-health-check", "all"]
        sys.exit(subprocess.run(command).returncode)
