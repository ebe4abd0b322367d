"""Shared by the peers: run rounds over open connections and tell what they cost this process."""

import json
import resource
import sys
import time


def settings():
    return json.load(open(sys.argv[1]))


def cpu_ms():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1000


def rounds(setup, one_round):
    """One round to open the connections, then the measured ones; prints a line of JSON."""
    begin = cpu_ms()
    one_round()
    connected = cpu_ms()
    wall, samples, errors = time.monotonic(), 0, 0
    for _ in range(setup["rounds"]):
        good, bad = one_round()
        samples, errors = samples + good, errors + bad
    seconds = time.monotonic() - wall
    cpu = cpu_ms() - connected
    status = open("/proc/self/status").read()
    rss = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    print(
        json.dumps(
            {
                "cpu_ms": cpu,
                "first_round_cpu_ms": connected - begin,
                "samples": samples,
                "errors": errors,
                "wall_s": seconds / setup["rounds"],
                "rss_kib": rss,
            }
        )
    )


def numbers(lines, wanted):
    """How many of the wanted lines are numbers, and how many are missing or are not."""
    good = 0
    for line in lines:
        try:
            float(line)
            good += 1
        except ValueError:
            pass
    return good, wanted - good
