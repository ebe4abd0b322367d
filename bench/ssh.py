"""Reading a fleet over SSH, side by side: Headroom's whole pipeline, straight and through one jump host, against parallel-ssh and paramiko,
which only collect.

Every client reads the same five counters of the same nodes over connections that it holds. They take turns, several times over, so that a
busy machine is busy for all of them. What counts is the CPU time of the client process per sample; the nodes' own work is not in it.
"""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from lab import Fleet, Process, Stolen, free_port, wait_for
from report import Table, machine, spread, verdict

NODES, TICK_S, TURNS = 200, 5, 3
MEASURED_TICKS = 6
SCRIPTS = {
    "load1": "cut -d' ' -f1 /proc/loadavg",
    "available": "awk '/MemAvailable/ {print $2}' /proc/meminfo",
    "uptime": "cut -d. -f1 /proc/uptime",
    "running": "awk '/^procs_running/ {print $2}' /proc/stat",
    "context": "awk '/^ctxt/ {print $2}' /proc/stat",
}
PEERS = {
    "parallel-ssh, a command per counter": ("parallel_ssh", False),
    "parallel-ssh, one command for all five": ("parallel_ssh", True),
    "paramiko, a command per counter": ("paramiko_pool", False),
    "paramiko, one command for all five": ("paramiko_pool", True),
}
OURS = "headroom: read, keep, breach, decide"
BEHIND = "headroom, every node behind one jump host"
# Fewer turns are enough to see what a second layer of encryption costs, and the bench stays short.
BEHIND_TURNS = 2
SSH_THREADS = "ssh"


def fleet_file(fleet, scripts=SCRIPTS, tick_s=TICK_S, nodes=None, jump_host=None):
    """Every script on every node (or the first so many) at every tick. JSON is YAML too."""
    profile = {"name": "bench", "user": fleet.user, "port": fleet.port, "private_key_file": str(fleet.key), "host_keys": "first_use"}
    if jump_host:
        profile["proxy_jump"] = f"{fleet.user}@{jump_host.address}:{jump_host.port}"
    return json.dumps(
        {
            "ssh_profiles": [profile],
            "counters": [
                # No reading ever reaches the threshold: what is measured is watching, not acting.
                {"name": name, "kind": "ssh", "script": script, "comparison": "<", "threshold": -1, "every": f"{tick_s}s"}
                for name, script in scripts.items()
            ],
            "clusters": [
                {
                    "name": "bench",
                    "nodes": [
                        {"name": f"node{index:05}", "address": host, "ssh_profile": "bench"} for index, host in enumerate(fleet.hosts[:nodes], 1)
                    ],
                }
            ],
            "actions": [{"name": "nothing", "kind": "LocalScript", "script": "true"}],
            "triggers": [
                {
                    "name": "watch",
                    "cluster": "bench",
                    "counters": list(scripts),
                    "timing": "1m",
                    "steps": [{"action": "nothing", "target": "cluster"}],
                }
            ],
        }
    )


class Headroom:
    """The real binary, serving with a data folder of its own."""

    def __init__(self, binary, tick_s=TICK_S):
        self.folder = Path(tempfile.mkdtemp(prefix="headroom-bench-data-"))
        self.port = free_port()
        self.binary, self.tick_s = binary, tick_s
        self.env = {
            "PATH": os.environ["PATH"],
            "HEADROOM_DATA": str(self.folder),
            "HEADROOM_LISTEN": f"127.0.0.1:{self.port}",
            "HEADROOM_TICK": f"{tick_s}s",
            "HEADROOM_METRICS_OPEN": "true",
            "HEADROOM_LOG": "warn",
            # As packaging/headroom.service has it.
            "MALLOC_ARENA_MAX": "2",
        }

    def serve(self, fleet=None):
        if fleet:
            file = self.folder / "fleet.yaml"
            file.write_text(fleet)
            subprocess.run([self.binary, "apply", "-f", file], env=self.env, check=True, stdout=subprocess.DEVNULL)
        self.process = Process([self.binary, "serve", "--no-example"], self.folder / "log", self.env)
        wait_for("headroom to serve", 30, lambda: self.process.must_live() and self.metrics() is not None)
        return self

    def metrics(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return None

    def count(self, name):
        found = re.findall(rf"^headroom_{re.escape(name)} ([0-9.e+]+)$", self.metrics() or "", re.MULTILINE)
        return float(found[0]) if found else 0.0

    def good(self):
        return self.count('readings_total{outcome="value"}')

    def bad(self):
        return self.count('readings_total{outcome="error"}')

    def read_whole_fleet(self, per_tick, seconds):
        """Waits for a tick in which every node is read: in the first ones some are still connecting."""
        before = 0

        def a_full_tick():
            nonlocal before
            self.process.must_live()
            now = self.good()
            full = now - before >= per_tick
            before = now
            return full

        wait_for("a tick in which every node is read", seconds, a_full_tick, self.tick_s)

    def stop(self):
        self.process.stop()
        subprocess.run(["rm", "-rf", self.folder], check=True)


def measure_headroom(binary, fleet, jump_host=None):
    """CPU per sample over some ticks, once every connection is open."""
    headroom = Headroom(binary)
    per_tick = NODES * len(SCRIPTS)
    try:
        headroom.serve(fleet_file(fleet, jump_host=jump_host))
        headroom.read_whole_fleet(per_tick, 180)
        # From one tick to another; asked once a second, since an answer costs CPU too.
        begin, errors, cpu = headroom.good(), headroom.bad(), headroom.process.cpu_ms()
        ssh = headroom.process.threads_cpu_ms(SSH_THREADS)
        wait_for("the measured ticks", MEASURED_TICKS * TICK_S * 4, lambda: headroom.good() >= begin + MEASURED_TICKS * per_tick, 1)
        used, samples = headroom.process.cpu_ms() - cpu, headroom.good() - begin
        # Threads that only wait for the database have the same name and end after a while: what they had used until then is no part of this.
        now = headroom.process.threads_cpu_ms(SSH_THREADS)
        return {
            "cpu_ms": used,
            "ssh_cpu_ms": sum(ms - ssh.get(thread, 0) for thread, ms in now.items()),
            "samples": samples,
            "errors": headroom.bad() - errors,
            "rss_kib": headroom.process.memory_kib(),
            "peak_kib": headroom.process.memory_kib("VmHWM"),
            "skipped": headroom.count("ticks_skipped_total"),
        }
    finally:
        headroom.stop()


def measure_idle(binary):
    """Memory without a single node."""
    headroom = Headroom(binary)
    try:
        headroom.serve()
        return headroom.process.memory_kib()
    finally:
        headroom.stop()


def measure_peer(python, fleet, script, together):
    setup = fleet.folder / "setup.json"
    setup.write_text(
        json.dumps(
            {
                "hosts": fleet.hosts,
                "port": fleet.port,
                "user": fleet.user,
                "key": str(fleet.key),
                "scripts": list(SCRIPTS.values()),
                "rounds": MEASURED_TICKS,
                "together": together,
            }
        )
    )
    done = subprocess.run(
        [python, Path(__file__).parent / "peers" / f"{script}.py", setup], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


def main():
    binary, python, results = sys.argv[1:4]
    # `timeout` and Ctrl-C end it the same way: through the `finally`s, which stop what was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped: out of time"))
    fleet = Fleet(NODES)
    found = {name: [] for name in [OURS, BEHIND, *PEERS]}
    try:
        jump_host = fleet.jump_host()
        idle_kib = measure_idle(binary)
        for turn in range(TURNS):
            measures = {OURS: lambda: measure_headroom(binary, fleet)}
            if turn < BEHIND_TURNS:
                measures[BEHIND] = lambda: measure_headroom(binary, fleet, jump_host)
            for name, (script, together) in PEERS.items():
                measures[name] = functools.partial(measure_peer, python, fleet, script, together)
            for name, measure in measures.items():
                print(f"turn {turn + 1} of {TURNS}: {name}", flush=True)
                stolen = Stolen()
                found[name].append({**measure(), "stolen": stolen.percent()})
    finally:
        fleet.stop()
    text = write(found, idle_kib)
    print(text)
    Path(results, "ssh.md").write_text(text)


def write(found, idle_kib):
    cpu = {name: spread(each["cpu_ms"] / each["samples"] for each in runs) for name, runs in found.items()}
    memory = {name: spread(each["rss_kib"] / 1024 for each in runs) for name, runs in found.items()}
    ours = cpu[OURS].median
    ssh, ssh_behind = (spread(each["ssh_cpu_ms"] / each["samples"] for each in found[name]).median for name in (OURS, BEHIND))
    table = Table("client", "CPU ms per sample, median", "min", "max", "times headroom", "memory MiB", "errors", "stolen %")
    for name, runs in found.items():
        table.row(
            name,
            f"{cpu[name].median:.3f}",
            f"{cpu[name].least:.3f}",
            f"{cpu[name].most:.3f}",
            f"{cpu[name].median / ours:.1f}",
            f"{memory[name].median:.0f}",
            f"{sum(each['errors'] for each in runs):.0f}",
            f"{spread(each['stolen'] for each in runs).median:.1f}",
        )
    alone, threads = (cpu[name].median / ours for name in list(PEERS)[::2])
    goals = Table("target", "wanted", "seen", "")
    goals.row("whole pipeline, CPU ms per sample", "<= 0.08", f"{ours:.3f}", verdict(ours <= 0.08))
    goals.row("SSH part of it (the threads that own the sessions)", "<= 0.03", f"{ssh:.3f}", verdict(ssh <= 0.03))
    goals.row("parallel-ssh costs more by", ">= 7 times", f"{alone:.1f} times", verdict(alone >= 7))
    goals.row("paramiko costs more by", ">= 17 times", f"{threads:.1f} times", verdict(threads >= 17))
    idle = idle_kib / 1024
    goals.row("memory with no node, MiB", "<= 60", f"{idle:.0f}", verdict(idle <= 60))
    skipped = sum(each["skipped"] for name in (OURS, BEHIND) for each in found[name])
    return f"""# Collecting over SSH

{NODES} nodes x {len(SCRIPTS)} counters, real OpenSSH on loopback on the same machine, connections held; {TURNS} turns of {MEASURED_TICKS} rounds,
taken in turn with the others. Headroom runs as it is served, a tick every {TICK_S} s, and also keeps the samples, follows the breaches, decides
and serves its pages; the others collect and throw away. CPU is user + system time of the client process. Ticks skipped: {skipped:.0f}.
*Stolen* is what the host of this machine gave to others meanwhile, of all processors: where that is more than a little, all figures are too high.

Behind a jump host ({BEHIND_TURNS} turns) every connection goes through one connection to one more sshd: whatever goes to a node or comes from it is encrypted
twice, and the SSH part of it costs {ssh_behind:.3f} ms per sample instead of {ssh:.3f}.

{table}
{goals}
What Headroom takes is waking up rather than any one piece of work: about twice for each node and tick, on the processors whose caches the nodes' scripts,
a thousand processes a tick, have just filled. With scripts that start no process, and with more nodes, a sample costs less: `soak.md`, `thousands.md`.

{machine()}
"""


if __name__ == "__main__":
    main()
