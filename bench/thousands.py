"""Ten thousand nodes with five counters a minute: what does watching them cost? The nodes are stand-ins (see stand_in.py).

    bench/thousands.py BINARY PYTHON_WITH_ASYNCSSH RESULTS_FOLDER [--nodes 10000] [--minutes 5]
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import Process, answers, free_port, wait_for
from report import Table, machine, spread, verdict
from soak import SCRIPTS, WHERE_MEMORY_GOES
from ssh import Headroom

TICK_S = 60
# A process may have 20 000 descriptors open on some machines, and a session takes four of them.
NODES_PER_SERVER = 2500


class StandIns:
    """Nodes that are nothing but an SSH server and a shell: `127.(10+s).x.y` is served by process s on a port of its own."""

    def __init__(self, python, count):
        self.folder = Path(tempfile.mkdtemp(prefix="headroom-bench-"))
        self.key = self.folder / "id"
        for name in ("hostkey", "id"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True)
        self.servers, self.nodes = [], []
        for begin in range(0, count, NODES_PER_SERVER):
            server, port = len(self.servers), free_port()
            command = [python, Path(__file__).parent / "stand_in.py", str(port), self.folder / "hostkey", self.folder / "id.pub"]
            self.servers.append(Process(command, self.folder / f"server.{server}.log"))
            for index in range(min(NODES_PER_SERVER, count - begin)):
                self.nodes.append((f"127.{10 + server}.{index // 250}.{1 + index % 250}", port))
            process = self.servers[-1]
            wait_for("a stand-in to listen", 30, lambda process=process, port=port: process.must_live() and answers("127.0.0.1", port))

    def fleet_file(self):
        ports = sorted({port for _, port in self.nodes})
        profile = {"user": "root", "private_key_file": str(self.key), "host_keys": "first_use"}
        nodes = [
            {"name": f"node{index:05}", "address": address, "ssh_profile": f"at{port}"} for index, (address, port) in enumerate(self.nodes, 1)
        ]
        counters = [
            {"name": name, "kind": "ssh", "script": script, "comparison": "<", "threshold": -1} for name, script in SCRIPTS.items()
        ]
        return json.dumps(
            {
                "ssh_profiles": [{"name": f"at{port}", "port": port, **profile} for port in ports],
                "counters": counters,
                "clusters": [{"name": "bench", "nodes": nodes}],
                "actions": [{"name": "nothing", "kind": "LocalScript", "script": "true"}],
                "triggers": [
                    {
                        "name": "watch",
                        "cluster": "bench",
                        "counters": list(SCRIPTS),
                        "timing": "10m",
                        "steps": [{"action": "nothing", "target": "cluster"}],
                    }
                ],
            }
        )

    def stop(self):
        for server in self.servers:
            server.stop()
        subprocess.run(["rm", "-rf", self.folder], check=True)


def measure(headroom, nodes, minutes):
    expected = nodes * len(SCRIPTS)
    # Nodes that are not connected in the first minute are read in a later one.
    begin = time.monotonic()
    headroom.read_whole_fleet(expected, 15 * 60)
    connected_s = time.monotonic() - begin
    cpu, good, bad, began = headroom.process.cpu_ms(), headroom.good(), headroom.bad(), time.monotonic()
    memory = []
    for _ in range(minutes):
        time.sleep(TICK_S)
        headroom.process.must_live()
        memory.append(headroom.process.memory_kib() / 1024)
        print(f"{headroom.good() - good:.0f} values, {headroom.bad() - bad:.0f} errors, {memory[-1]:.0f} MiB", flush=True)
    return {
        "connected_s": connected_s,
        "cpu_ms": headroom.process.cpu_ms() - cpu,
        "wall_ms": (time.monotonic() - began) * 1000,
        "values": headroom.good() - good,
        "errors": headroom.bad() - bad,
        "memory": memory,
        "skipped": headroom.count("ticks_skipped_total"),
    }


def write(seen, nodes):
    share = 100 * seen["cpu_ms"] / seen["wall_ms"]
    memory = spread(seen["memory"])
    per_sample = seen["cpu_ms"] / max(1, seen["values"])
    table = Table("", "wanted", "seen", "")
    table.row("share of one core", "<= 10 %", f"{share:.1f} %", verdict(share <= 10))
    table.row("CPU ms per sample, whole pipeline", "<= 0.08", f"{per_sample:.3f}", verdict(per_sample <= 0.08))
    table.row("memory, MiB", "<= 1024", f"{memory.most:.0f}", verdict(memory.most <= 1024))
    table.row("error readings", "0", f"{seen['errors']:.0f}", verdict(seen["errors"] == 0))
    table.row("ticks skipped", "0", f"{seen['skipped']:.0f}", verdict(seen["skipped"] == 0))
    return f"""# Ten thousand nodes a minute

{nodes} nodes x {len(SCRIPTS)} counters, a tick every {TICK_S} s, {len(seen["memory"])} minutes, on the machine that also plays the nodes. The nodes are **stand-ins**:
asyncssh speaks SSH for them (its cost is not in the figures) and says what a real /bin/sh said to the same question; `ssh.md` has the figure on real
sshd for 200 nodes, `soak.md` for 1 000.
All of them were connected and read after {seen["connected_s"] / 60:.0f} minutes.

{table}
{WHERE_MEMORY_GOES}

{machine()}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("python")
    parser.add_argument("results")
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--minutes", type=int, default=5)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped: out of time"))
    nodes = StandIns(args.python, args.nodes)
    try:
        headroom = Headroom(args.binary, TICK_S)
        try:
            headroom.serve(nodes.fleet_file())
            text = write(measure(headroom, args.nodes, args.minutes), args.nodes)
        finally:
            headroom.stop()
    finally:
        nodes.stop()
    print(text)
    Path(args.results, "thousands.md").write_text(text)


if __name__ == "__main__":
    main()
