"""What the benchmarks stand on: a fleet of real sshd on loopback addresses, and the CPU time and memory of a process."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

# sshd takes at most 16 ListenAddress lines, so a fleet of 200 nodes is 13 servers.
ADDRESSES_PER_SERVER = 16
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

SSHD_CONFIG = """
Port {port}
{listen}
HostKey {folder}/hostkey
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
StrictModes no
MaxSessions 100
MaxStartups 3000
LoginGraceTime 120
PrintMotd no
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, seconds, ask, pause_s=0.05):
    """Asks until the answer is true; fails loudly when it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(pause_s)
    raise SystemExit(f"waited {seconds} s in vain for {what}")


class Stolen:
    """What the host of this machine gave to others meanwhile, in % of the time of its processors: where that is much, caches and cores are
    shared with somebody, and every figure of CPU time is too high."""

    def __init__(self):
        self.begin = self.times()

    @staticmethod
    def times():
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return fields[7], sum(fields)

    def percent(self):
        (stolen, total), (stolen_now, now) = self.begin, self.times()
        return 100 * (stolen_now - stolen) / max(1, now - total)


def answers(host, port):
    try:
        with socket.create_connection((host, port), 2):
            return True
    except OSError:
        return False


class Process:
    """A child, known by its pid and stopped by it."""

    def __init__(self, command, log, env=None):
        self.log = log
        with open(log, "ab") as out:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)

    def cpu_ms(self):
        """User and system time so far, of the process and of the children it has waited for."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:15])) * 1000 / TICKS_PER_SECOND

    def threads_cpu_ms(self, name):
        """User and system time so far of each thread of this name, by its id."""
        found = {}
        for thread in Path(f"/proc/{self.child.pid}/task").iterdir():
            if (thread / "comm").read_text().strip() == name:
                fields = (thread / "stat").read_text().rsplit(")", 1)[1].split()
                found[thread.name] = (int(fields[11]) + int(fields[12])) * 1000 / TICKS_PER_SECOND
        return found

    def memory_kib(self, key="VmRSS"):
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1])
        raise SystemExit(f"no {key} for {self.child.pid}")

    def must_live(self):
        if self.child.poll() is not None:
            tail = Path(self.log).read_text(errors="replace")[-3000:]
            raise SystemExit(f"{self.child.args[0]} ended with {self.child.returncode}:\n{tail}")
        return True

    def kill_all(self):
        """The process and all its descendants, with -9."""
        pids = [self.child.pid]
        for pid in pids:
            try:
                for task in Path(f"/proc/{pid}/task").glob("*/children"):
                    pids += [int(child) for child in task.read_text().split()]
            except FileNotFoundError:
                pass
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.child.wait()

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


class JumpHost:
    """A real sshd in front of a fleet, with the keys of its folder."""

    def __init__(self, folder):
        self.address, self.port = "127.0.0.1", free_port()
        config = folder / "sshd_config.jump"
        text = SSHD_CONFIG.format(port=self.port, listen=f"ListenAddress {self.address}", folder=folder)
        limits = ("MaxSessions", "MaxStartups")
        config.write_text("\n".join(line for line in text.splitlines() if not line.startswith(limits)))
        self.process = Process(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], folder / "sshd.jump.log")


class Fleet:
    """`count` nodes: real sshd on 127.0.1.1, 127.0.1.2, …, all on one port, with one key that opens them."""

    def __init__(self, count):
        self.folder = Path(tempfile.mkdtemp(prefix="headroom-bench-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        self.user = "headroom-test" if os.geteuid() == 0 else os.environ["USER"]
        self.hosts = [f"127.0.{1 + index // 250}.{1 + index % 250}" for index in range(count)]
        self.key = self.folder / "id"
        for name in ("hostkey", "id"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True)
        keys = self.folder / "authorized_keys"
        keys.write_text((self.folder / "id.pub").read_text())
        keys.chmod(0o644)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.servers = []
        try:
            for begin in range(0, count, ADDRESSES_PER_SERVER):
                self.servers.append(self._serve(begin))
            for host in self.hosts:
                wait_for(f"sshd on {host}", 20, lambda: answers(host, self.port))
        except BaseException:
            self.stop()
            raise

    def _serve(self, begin):
        listen = [f"ListenAddress {host}" for host in self.hosts[begin : begin + ADDRESSES_PER_SERVER]]
        config = self.folder / f"sshd_config.{begin}"
        config.write_text(SSHD_CONFIG.format(port=self.port, listen="\n".join(listen), folder=self.folder))
        return Process(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], self.folder / f"sshd.{begin}.log")

    def jump_host(self):
        """One more sshd that the same key opens, with the limits that sshd has by itself; stopped with the fleet."""
        jump_host = JumpHost(self.folder)
        self.servers.append(jump_host.process)
        wait_for("the jump host", 20, lambda: answers(jump_host.address, jump_host.port))
        return jump_host

    def vanish(self, indexes):
        """Kills these servers with every session of theirs, as a rack that loses its power; says how many nodes that were."""
        for index in indexes:
            self.servers[index].kill_all()
        return len(self.hosts[: ADDRESSES_PER_SERVER * len(indexes)])

    def return_(self, indexes):
        """Starts them again."""
        for index in indexes:
            self.servers[index] = self._serve(index * ADDRESSES_PER_SERVER)

    def stop(self):
        for server in self.servers:
            server.stop()
        subprocess.run(["rm", "-rf", self.folder], check=True)
