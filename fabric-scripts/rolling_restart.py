"""Restarts a service node by node, and goes on only when the restarted one answers.

As an action (one node at a time, and none after a failure, which is what a DistributedScript does if nothing else is said):

    - { name: roll, kind: DistributedScript, fabfile: rolling_restart.py, task: restart, timeout: 30m,
        args: ["--service", "tomcat10", "--check", "http://localhost:8080/health"] }

`--check` is a URL that must answer with a status below 400, asked on the node itself, or a command that must exit with 0.
"""
import shlex
import time

from fabric import task


def healthy(c, check):
    """Whether the check passes, and what it said."""
    if check.startswith(("http://", "https://")):
        url = shlex.quote(check)
        check = f"if command -v curl >/dev/null; then curl -fsS -o /dev/null --max-time 5 {url}; else wget -q -O /dev/null -T 5 {url}; fi"
    result = c.run(check, hide=True, warn=True)
    return result.ok, (result.stderr or result.stdout).strip()


@task(
    help={
        "service": "the service's name",
        "check": "a URL or a command",
        "wait": "seconds until it must be healthy",
        "command": "instead of `systemctl restart SERVICE`",
        "settle": "seconds for which it must stay healthy",
    }
)
def restart(c, service="", check="", wait=60, command="", settle=3):
    """Restart a service and wait until it is healthy."""
    if not check or not (service or command):
        raise SystemExit("--check is needed, and --service or --command")
    root = c.run("id -u", hide=True).stdout.strip() == "0"
    command = command or f"{'' if root else 'sudo -n '}systemctl restart {shlex.quote(service)}"
    print(f"{command}")
    c.run(command)
    begin = time.monotonic()
    since = None
    while True:
        ok, said = healthy(c, check)
        now = time.monotonic()
        since = (since or now) if ok else None
        if ok and now - since >= int(settle):
            print(f"healthy {now - begin:.1f} s after the restart")
            return
        if not ok and now - begin > int(wait):
            raise SystemExit(f"not healthy within {wait} s of the restart: {said}")
        time.sleep(0.5)
