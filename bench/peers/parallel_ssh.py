"""parallel-ssh (libssh2 under gevent): one client for the whole fleet, its connections held between rounds."""

from measure import numbers, rounds, settings
from pssh.clients import ParallelSSHClient

setup = settings()
hosts, scripts = setup["hosts"], setup["scripts"]
client = ParallelSSHClient(hosts, user=setup["user"], port=setup["port"], pkey=setup["key"], pool_size=len(hosts), num_retries=3, timeout=30)


def run(command):
    output = client.run_command(command, stop_on_errors=False)
    client.join(output)
    return [line for host in output if host.stdout for line in host.stdout]


def one_round():
    commands = [" ; ".join(scripts)] if setup["together"] else scripts
    lines = [line for command in commands for line in run(command)]
    return numbers(lines, len(hosts) * len(scripts))


rounds(setup, one_round)
