"""The description of the interface, judged by others: a validator, and a client that is generated from it.

    python3 tests/http/contract.py target/release/rumormill

Needs the packages in requirements.txt beside this file, with their commands on PATH.
"""

import importlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile

from daemon import daemon
from openapi_spec_validator import validate


def generate(document, where):
    """A client generated from the document."""
    description = where / "openapi.json"
    description.write_text(json.dumps(document))
    # The text of metrics is no JSON and no file: the generator has to be told so.
    settings = where / "config.json"
    settings.write_text(json.dumps({"content_type_overrides": {"application/openmetrics-text": "text/plain"}}))
    command = ["openapi-python-client", "generate", "--path", str(description), "--config", str(settings)]
    command += ["--output-path", str(where / "client"), "--fail-on-warning"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=where)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    sys.path.insert(0, str(where / "client"))
    return importlib.import_module("rumormill_client")


def round_trip(package, address):
    """Rows, items, conditions, pages and errors, all through the generated client."""
    models, types = importlib.import_module("rumormill_client.models"), importlib.import_module("rumormill_client.types")

    def call(name, *args, **kwargs):
        return importlib.import_module(f"rumormill_client.api.{name}").sync_detailed(*args, client=client, **kwargs)

    client = package.Client(base_url=f"http://{address}")
    file = lambda data: types.File(payload=io.BytesIO(data))
    put = call("rows.write_row", "t", "k", body=file(b"\x00\xffraw"), if_none_match="*")
    assert put.status_code == 201, put
    tag = put.headers["etag"]
    got = call("rows.read_row", "t", "k")
    assert (got.status_code, got.parsed.payload.read()) == (200, b"\x00\xffraw"), got
    assert call("rows.read_row", "t", "k", if_none_match=tag).status_code == 304
    refused = call("rows.write_row", "t", "k", body=file(b"other"), if_none_match="*")
    assert (refused.status_code, refused.parsed.error.code) == (412, "precondition_failed"), refused
    item = call("items.write_item", "greeting", body=models.Item(value="hello"))
    assert (item.status_code, item.parsed.value) == (201, "hello"), item
    binary = models.Item(value=models.Base64(base64="/wA="))
    assert call("items.write_item", "binary", body=binary).status_code == 201
    assert call("items.read_item", "binary").parsed.value.base64 == "/wA="
    rows = [models.NewRow(key=f"w{n}", value="v") for n in range(5)] + [models.NewRow(key="old", value="v", expires_ms=1)]
    done = call("rows.write_rows", "words", body=models.NewRows(rows=rows)).parsed
    assert (done.written, done.expired, done.refused) == (5, 1, []), done
    page = call("rows.list_rows", "words", limit=3).parsed
    assert [row.key for row in page.rows] == ["w0", "w1", "w2"] and page.next_ and page.cursor, page
    place = page.next_.split("page=")[1]
    rest = call("rows.list_rows", "words", limit=3, page=place).parsed
    assert [(row.key, row.value) for row in rest.rows] == [("w3", "v"), ("w4", "v")], rest
    missing = call("rows.read_row", "words", "absent")
    assert (missing.status_code, missing.parsed.error.code) == (404, "not_found"), missing
    table = models.NewTable(name="orders", durability="sync")
    assert call("tables.create_table", body=table).status_code in (200, 201)
    assert call("rows.delete_row", "t", "k", if_match=tag).status_code == 204
    me = call("cluster.read_self").parsed
    assert me.me and call("cluster.list_members").parsed.members[0].id == me.id
    setting = call("cluster.read_setting", "gossip.fanout")
    assert setting.status_code == 200, setting
    assert call("operation.healthz").status_code == 200


if __name__ == "__main__":
    with daemon(sys.argv[1]) as node, tempfile.TemporaryDirectory() as directory:
        document = json.loads(node.ask("GET", "/openapi.json")[1])
        validate(document)
        print(f"contract: openapi.json {document['openapi']} is valid, {len(document['paths'])} paths")
        round_trip(generate(document, pathlib.Path(directory)), node.address)
        print("contract: a generated client's round trip is done")
