"""A thousand real SSH nodes for ten minutes, then half of them vanish and come back: does every tick keep its time, does memory stay where it is?

    bench/soak.py BINARY RESULTS_FOLDER [--nodes 1000] [--minutes 10]
"""

import argparse
import signal
import sys
import time
from pathlib import Path

from lab import Fleet, wait_for
from report import Table, machine, verdict
from ssh import Headroom, fleet_file

TICK_S = 10
# Memory is measured with so many nodes first: what a connection costs is the slope from there.
FEW = 200
# What connecting a thousand nodes needs before the steady state begins.
SETTLING_S = 120
SCRIPTS = {
    "load1": "read one rest </proc/loadavg; echo $one",
    "uptime": "IFS=. read up rest </proc/uptime; echo $up",
    "shell": "echo $((40 + 2))",
    "entropy": "read it </proc/sys/kernel/random/entropy_avail; echo $it",
    "threads": "read one five fifteen tasks rest </proc/loadavg; echo ${tasks#*/}",
}


WHERE_MEMORY_GOES = """libssh2's session structure alone is 83 KiB (two packet buffers of 35 000 bytes, fixed in its source). About 20 of them are ever written to: the rest is given
back to the system as soon as a session is made (`crates/session-pages`); without that a connection took 110 KiB. Of what is left about
6 KiB are OpenSSL's ciphers and libssh2's channel, about 6 Headroom's own, about 5 what reading a node takes for a moment; the rest is room between them."""


class Watch:
    """Counts and memory as they go on, one line a tick."""

    def __init__(self, headroom):
        self.headroom = headroom
        self.last = (headroom.good(), headroom.bad())

    def tick(self):
        """What one tick brought: values, errors, MiB."""
        time.sleep(TICK_S)
        self.headroom.process.must_live()
        now = (self.headroom.good(), self.headroom.bad())
        values, errors = now[0] - self.last[0], now[1] - self.last[1]
        self.last = now
        return values, errors, self.headroom.process.memory_kib() / 1024

    def ticks(self, seconds, what):
        seen = []
        for _ in range(round(seconds / TICK_S)):
            seen.append(self.tick())
            values, errors, mib = seen[-1]
            print(f"{what}: {values:.0f} values, {errors:.0f} errors, {mib:.0f} MiB", flush=True)
        return seen


def growth(memory):
    """MiB between the means of the first and the last fifth."""
    part = max(1, len(memory) // 5)
    return sum(memory[-part:]) / part - sum(memory[:part]) / part


def soak(headroom, fleet, nodes, minutes):
    expected = nodes * len(SCRIPTS)
    headroom.read_whole_fleet(expected, SETTLING_S * 2)
    watch = Watch(headroom)
    watch.ticks(SETTLING_S, "settling")
    cpu, skipped = headroom.process.cpu_ms(), headroom.count("ticks_skipped_total")
    steady = watch.ticks(minutes * 60 - SETTLING_S, "steady")
    cpu = headroom.process.cpu_ms() - cpu
    skipped = headroom.count("ticks_skipped_total") - skipped

    gone = fleet.vanish(range(0, len(fleet.servers) // 2))
    lost = watch.ticks(6 * TICK_S, f"{gone} nodes gone")
    fleet.return_(range(0, len(fleet.servers) // 2))
    back = watch.ticks(15 * TICK_S, "back")
    return {
        "steady": steady,
        "cpu_ms": cpu / sum(values for values, _, _ in steady),
        "skipped": skipped,
        "skipped_all": headroom.count("ticks_skipped_total"),
        "gone": gone,
        "lost": lost,
        "back": back,
    }


def few(binary, fleet):
    """Memory once the first nodes of the fleet have been read for a while, KiB."""
    headroom = Headroom(binary, TICK_S)
    try:
        headroom.serve(fleet_file(fleet, SCRIPTS, TICK_S, FEW))
        expected = FEW * len(SCRIPTS) * (SETTLING_S // TICK_S)
        wait_for("a few nodes to be read", SETTLING_S * 3, lambda: headroom.process.must_live() and headroom.good() >= expected, 1)
        return headroom.process.memory_kib()
    finally:
        headroom.stop()


def write(seen, few_kib, nodes, minutes):
    expected = nodes * len(SCRIPTS)
    memory = [mib for _, _, mib in seen["steady"]]
    errors = sum(errors for _, errors, _ in seen["steady"])
    grown = growth(memory)
    each_kib = (memory[0] * 1024 - few_kib) / (nodes - FEW)
    staying = (nodes - seen["gone"]) * len(SCRIPTS)
    # A tick's readings may fall on either side of a look: the mean over the stretch tells.
    kept = sum(values for values, _, _ in seen["lost"][1:]) / len(seen["lost"][1:])
    again = next((index for index, (values, _, _) in enumerate(seen["back"], 1) if values >= expected), None)
    table = Table("", "wanted", "seen", "")
    table.row("ticks skipped in the steady state", "0", f"{seen['skipped']:.0f}", verdict(seen["skipped"] == 0))
    table.row("error readings in the steady state", "0", f"{errors:.0f}", verdict(errors == 0))
    table.row("growth of memory after settling, MiB", "<= 2", f"{grown:+.1f} of {memory[0]:.0f}", verdict(grown <= 2))
    table.row(f"memory per node and held connection, from {FEW} to {nodes} nodes, KiB", "<= 85", f"{each_kib:.0f}", verdict(each_kib <= 85))
    table.row(f"values a tick while {seen['gone']} nodes are gone", f"{staying}", f"{kept:.0f}", verdict(kept >= 0.99 * staying))
    table.row("ticks skipped, all told", "0", f"{seen['skipped_all']:.0f}", verdict(seen["skipped_all"] == 0))
    table.row("ticks until every node is read again", "<= 12", again or "never", verdict(again is not None and again <= 12))
    table.row("CPU ms per sample, steady", "<= 0.08", f"{seen['cpu_ms']:.3f}", verdict(seen["cpu_ms"] <= 0.08))
    return f"""# A thousand nodes for ten minutes

{nodes} nodes x {len(SCRIPTS)} counters on real OpenSSH (loopback addresses, same machine), a tick every {TICK_S} s for {minutes} minutes, of which the first
{SETTLING_S // 60} are for settling; then half of the servers are killed with every session, and started again a minute later.

{table}
{WHERE_MEMORY_GOES}
Memory a minute, MiB: {", ".join(f"{mib:.0f}" for mib in memory[::6])}.
The embedded store's page cache fills with the first readings, by 12.5 bytes a sample, and stays at 2 MiB for a fleet of this size.

{machine()}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("results")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--minutes", type=int, default=10)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped: out of time"))
    if args.nodes <= FEW:
        parser.error(f"--nodes must be more than {FEW}")
    fleet = Fleet(args.nodes)
    try:
        few_kib = few(args.binary, fleet)
        headroom = Headroom(args.binary, TICK_S)
        try:
            headroom.serve(fleet_file(fleet, SCRIPTS, TICK_S))
            text = write(soak(headroom, fleet, args.nodes, args.minutes), few_kib, args.nodes, args.minutes)
        finally:
            headroom.stop()
    finally:
        fleet.stop()
    print(text)
    Path(args.results, "soak.md").write_text(text)


if __name__ == "__main__":
    main()
