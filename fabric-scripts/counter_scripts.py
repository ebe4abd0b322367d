"""Puts the scripts that counters call on a node, so that a counter's setting stays one short line.

As an action (nodes at once, one failure does not stop the others):

    - { name: push-counters, kind: DistributedScript, fabfile: counter_scripts.py, task: push,
        at_once: 8, keep_going: true, repeatable: true }

and a counter that uses one: `script: /usr/local/lib/headroom/memory_used`.

Every file in `source` (a folder beside this file; by default `scripts`, if there is one) is pushed as well, under its own name.
Only what differs is written, in one step, so that a counter never runs half a script.
"""
import hashlib
import io
import os
import shlex

from fabric import task

TARGET = "/usr/local/lib/headroom"

BUILT_IN = {
    "load_per_core": """#!/bin/sh
# The load of the last minute, per processor core.
awk -v cores="$(grep -c ^processor /proc/cpuinfo)" '{ printf "%.2f\\n", $1 / (cores > 0 ? cores : 1) }' /proc/loadavg
""",
    "memory_used": """#!/bin/sh
# Memory that is not available to programs, in percent.
awk '/^MemTotal:/ { total = $2 } /^MemAvailable:/ { free = $2 } END { printf "%.1f\\n", 100 * (total - free) / total }' /proc/meminfo
""",
    "disk_used": """#!/bin/sh
# Space used of the file system that holds a path (default /), in percent.
df -P -- "${1:-/}" | awk 'NR == 2 { sub("%", "", $5); print $5 }'
""",
    "tcp_established": """#!/bin/sh
# Established TCP connections to a local port.
port=$(printf '%04X' "${1:?which port}")
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port=":$port" '$4 == "01" && substr($2, length($2) - 4) == port { n++ } END { print n + 0 }'
""",
}


def scripts(source):
    """Name and content of every script."""
    found = {name: text.encode() for name, text in BUILT_IN.items()}
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), source)
    if source != "scripts" and not os.path.isdir(folder):
        raise SystemExit(f"there is no folder {folder}")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        path = os.path.join(folder, name)
        if os.path.isfile(path) and not name.startswith("."):
            with open(path, "rb") as file:
                found[name] = file.read()
    return found


@task(help={"source": "folder of further scripts", "target": "folder on the node", "sudo": "write as root"})
def push(c, source="scripts", target=TARGET, sudo=True):
    """Push the counter scripts."""
    as_root = "sudo -n " if sudo and c.run("id -u", hide=True).stdout.strip() != "0" else ""
    place = shlex.quote(target)
    c.run(f"{as_root}mkdir -p -m 755 {place}", hide=True)
    listing = c.run(f"cd {place} && sha256sum -- * 2>/dev/null", hide=True, warn=True).stdout
    there = {line[66:]: line[:64] for line in listing.splitlines()}
    changed = 0
    for name, content in scripts(source).items():
        if there.get(name) == hashlib.sha256(content).hexdigest():
            continue
        file = shlex.quote(f"{target}/{name}")
        upload = c.run("mktemp", hide=True).stdout.strip()
        try:
            c.put(io.BytesIO(content), upload)
            # A rename within one folder is one step for whoever reads.
            c.run(f"{as_root}install -m 755 {upload} {file}.new && {as_root}mv -f {file}.new {file}", hide=True)
        finally:
            c.run(f"rm -f {upload}", hide=True, warn=True)
        changed += 1
        print(f"wrote {target}/{name}")
    print(f"{changed} scripts written, {len(scripts(source)) - changed} were up to date")
