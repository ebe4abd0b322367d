"""paramiko: 64 threads over a fleet of held connections, one channel per command, as its users write it."""

from concurrent.futures import ThreadPoolExecutor

import paramiko
from measure import numbers, rounds, settings

THREADS = 64
setup = settings()
hosts, scripts = setup["hosts"], setup["scripts"]
held = {}


def connection(host):
    if host not in held:
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect(
            host,
            port=setup["port"],
            username=setup["user"],
            key_filename=setup["key"],
            allow_agent=False,
            look_for_keys=False,
            timeout=60,
            banner_timeout=60,
            auth_timeout=60,
        )
        held[host] = client
    return held[host]


def collect(host):
    commands = [" ; ".join(scripts)] if setup["together"] else scripts
    lines = []
    for command in commands:
        _, out, _ = connection(host).exec_command(command, timeout=30)
        lines.extend(out.read().decode().split())
        out.channel.recv_exit_status()
    return numbers(lines, len(scripts))


with ThreadPoolExecutor(THREADS) as pool:

    def one_round():
        found = list(pool.map(collect, hosts))
        return sum(good for good, _ in found), sum(bad for _, bad in found)

    rounds(setup, one_round)
for each in held.values():
    each.close()
