"""Releases an archive on a node: unpacks it beside the earlier ones, switches a link to it, and switches back when the node is not healthy with it.

As an action (one node at a time, and none after a failure, which is what a DistributedScript does if nothing else is said):

    - { name: release, kind: DistributedScript, fabfile: release.py, task: release, timeout: 30m,
        args: ["--archive", "/srv/releases/shop-1.2.tar.gz", "--target", "/srv/shop", "--service", "shop", "--check", "http://localhost:8080/health"] }

The archive lies on Headroom's own host. On the node TARGET/releases/NAME holds what was in it, and TARGET/current is a link to the release in use.
"""
import os
import shlex
import time

from fabric import task


def healthy(c, check):
    """Whether the check (a URL or a command) passes, and what it said."""
    if check.startswith(("http://", "https://")):
        url = shlex.quote(check)
        check = f"if command -v curl >/dev/null; then curl -fsS -o /dev/null --max-time 5 {url}; else wget -q -O /dev/null -T 5 {url}; fi"
    result = c.run(check, hide=True, warn=True)
    return result.ok, (result.stderr or result.stdout).strip()


def name_of(archive):
    """`shop-1.2` of `/srv/releases/shop-1.2.tar.gz`."""
    name = os.path.basename(archive)
    for ending in (".tar.gz", ".tgz", ".tar.xz", ".tar"):
        if name.endswith(ending) and name != ending:
            return name[: -len(ending)]
    raise SystemExit(f"{archive} is no .tar.gz, .tgz, .tar.xz or .tar")


@task(
    help={
        "archive": "the archive, on Headroom's own host",
        "target": "folder on the node",
        "service": "the service to restart; none = nothing is restarted",
        "command": "instead of `systemctl restart SERVICE`",
        "check": "a URL or a command that says whether the node is healthy",
        "wait": "seconds until it must be healthy",
        "keep": "releases that stay on the node",
    }
)
def release(c, archive="", target="", service="", command="", check="", wait=60, keep=3):
    """Release an archive, or go back to what was there."""
    if not archive or not target:
        raise SystemExit("--archive and --target are needed")
    if not os.path.isfile(archive):
        raise SystemExit(f"there is no file {archive} on Headroom's own host")
    sudo = "" if c.run("id -u", hide=True).stdout.strip() == "0" else "sudo -n "
    if not command and service:
        command = f"{sudo}systemctl restart {shlex.quote(service)}"
    releases, current = shlex.quote(f"{target}/releases"), shlex.quote(f"{target}/current")
    place = shlex.quote(f"{target}/releases/{name_of(archive)}")
    before = c.run(f"readlink {current}", hide=True, warn=True).stdout.strip()

    def switch(to):
        """Whether the service was started anew with it, and why not."""
        # A rename is one step: whoever follows the link finds the one or the other.
        c.run(f"{sudo}ln -sfn {shlex.quote(to)} {current}.new && {sudo}mv -fT {current}.new {current}", hide=True)
        if not command:
            return True, ""
        result = c.run(command, warn=True)
        return result.ok, f"`{command}` ended with status {result.exited}"

    upload = c.run("mktemp", hide=True).stdout.strip()
    try:
        c.put(archive, upload)
        # Unpacked under another name first, so that half a release is never taken for one.
        c.run(f"{sudo}rm -rf {place}.part && {sudo}mkdir -p {place}.part && {sudo}tar -xf {upload} -C {place}.part", hide=True)
        c.run(f"{sudo}rm -rf {place}.old && if [ -e {place} ]; then {sudo}mv {place} {place}.old; fi && {sudo}mv {place}.part {place} && {sudo}rm -rf {place}.old", hide=True)
    finally:
        c.run(f"rm -f {upload}", hide=True, warn=True)
    this = f"releases/{name_of(archive)}"
    ok, said = switch(this)
    why = f"not started with {name_of(archive)}"
    if ok and check:
        why = f"not healthy within {wait} s with {name_of(archive)}"
        begin = time.monotonic()
        ok, said = healthy(c, check)
        while not ok and time.monotonic() - begin < int(wait):
            time.sleep(0.5)
            ok, said = healthy(c, check)
    if not ok:
        told = "there was no release before, so it stays"
        if before == this:
            told = "the release before had the same name and was replaced, so it stays"
        elif before:
            back, failed = switch(before)
            told = f"went back to {os.path.basename(before)}" + ("" if back else f", which could not be started either: {failed}")
        raise SystemExit(f"{why}: {said}; {told}")
    c.run(f"cd {releases} && ls -1t | tail -n +{int(keep) + 1} | while read -r old; do {sudo}rm -rf -- \"$old\"; done", hide=True)
    print(f"{name_of(archive)} is released in {target}")
