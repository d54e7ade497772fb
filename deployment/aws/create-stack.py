#!/usr/bin/env python3
"""Creates the stack of template.yaml on a server that stands in for AWS, and looks at its parts.

create-stack.py MOTO_SERVER     the path of the program moto_server; boto3 is a part of its installation
Run it by the Python of that installation, or let `check.sh` do so. Exit code 1: the stack is not created, or is not as it should be.
"""

import os
import pathlib
import socket
import subprocess
import sys
import time

SERVER = sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)
PYTHON = pathlib.Path(SERVER).parent / "python"
try:
    import boto3
except ImportError:
    if os.environ.get("RUMORMILL_PYTHON_OF_MOTO"):
        sys.exit("the installation of moto_server has no boto3")
    os.environ["RUMORMILL_PYTHON_OF_MOTO"] = "yes"
    os.execv(PYTHON, [str(PYTHON), __file__, SERVER])


def free_port():
    """Returns a port of the loopback address that is free at the moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def expect(truth, words):
    """Ends the program with words where something is not true."""
    if not truth:
        sys.exit(words)


def client(kind, port):
    """Returns a client of the server, with credentials that are none."""
    return boto3.client(
        kind,
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
    )


def create(port):
    """Creates the stack. A part that is wrong ends the program."""
    template = (pathlib.Path(__file__).parent / "template.yaml").read_text()
    formation = client("cloudformation", port)
    formation.validate_template(TemplateBody=template)
    formation.create_stack(
        StackName="rumormill",
        TemplateBody=template,
        Parameters=[
            {"ParameterKey": "Bucket", "ParameterValue": "rumormill-test"},
            {"ParameterKey": "Release", "ParameterValue": "0.1.0"},
        ],
        Capabilities=["CAPABILITY_IAM"],
    )
    stack = formation.describe_stacks(StackName="rumormill")["Stacks"][0]
    expect(stack["StackStatus"] == "CREATE_COMPLETE", f"the stack is {stack['StackStatus']}")
    ec2 = client("ec2", port)
    own = [{"Name": "tag:aws:cloudformation:stack-name", "Values": ["rumormill"]}]
    volumes = ec2.describe_volumes(Filters=own)["Volumes"]
    zones = {volume["AvailabilityZone"] for volume in volumes}
    expect(len(volumes) == 3 and len(zones) == 3, f"{len(volumes)} volumes are in {len(zones)} zones")
    groups = client("autoscaling", port).describe_auto_scaling_groups()["AutoScalingGroups"]
    expect(len(groups) == 3, f"{len(groups)} groups of nodes")
    expect(all(group["MaxSize"] == 1 for group in groups), "a node could run twice on one volume")
    fences = ec2.describe_security_groups(Filters=own)["SecurityGroups"]
    expect(len(fences) == 2, f"{len(fences)} security groups")
    for group in fences:
        for rule in group["IpPermissions"]:
            expect(not rule["IpRanges"] and not rule["Ipv6Ranges"], f"{group['GroupName']} is open to addresses")
    resources = formation.describe_stack_resources(StackName="rumormill")["StackResources"]
    print(f"{len(resources)} resources created, 3 volumes in 3 zones, no port open to the world")


def main():
    port = free_port()
    server = subprocess.Popen([SERVER, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                expect(server.poll() is None, "the server ended")
                expect(time.monotonic() < until, "the server does not answer")
                time.sleep(0.2)
        create(port)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
