"""Reading JVMs, side by side: Headroom's own client, a Java program that holds its logins as JConsole does, and Zabbix' Java gateway (Debian),
all asked for the same three attributes.

One real JVM stands for all: each of the connections is a login of its own. They take turns; what counts is the CPU time of the client
process per attribute, the JVM's own work is not in it. The gateway makes a new connection for each request, which is how it works.
"""

import concurrent.futures
import json
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from lab import Process, free_port, wait_for
from report import Table, machine, spread, verdict

CONNECTIONS, ROUNDS, TURNS = 200, 20, 3
GATEWAY_ROUNDS, GATEWAY_THREADS = 2, 5
KEYS = [
    'jmx["java.lang:type=Memory","HeapMemoryUsage.used"]',
    'jmx["java.lang:type=Threading","ThreadCount"]',
    'jmx["lab:type=App,name=\\"x,y\\"","QueueDepth"]',
]
SOURCE = Path(__file__).parent.parent / "src/tests/jmx/Target.java"
JAVA_CLIENT = Path(__file__).parent / "peers/JmxReader.java"
SMALL = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


def listening(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 2):
            return True
    except OSError:
        return False


def low_port():
    """The gateway takes no port above 32767, which is where the system's own choice begins."""
    for port in random.sample(range(20000, 32000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise SystemExit("no free port between 20000 and 32000")


class Target:
    """A JVM with remote JMX on a loopback port, open to all who reach it."""

    def __init__(self, folder):
        self.port = free_port()
        subprocess.run(["javac", "-d", folder, SOURCE], check=True)
        prefix = "-Dcom.sun.management.jmxremote"
        settings = {"port": self.port, "rmi.port": self.port, "host": "127.0.0.1", "authenticate": "false", "ssl": "false"}
        options = [f"{prefix}.{name}={value}" for name, value in settings.items()]
        command = ["java", "-Xmx256m", *SMALL, *options, "-Djava.rmi.server.hostname=127.0.0.1", "-cp", folder, "Target"]
        self.log = Path(folder, "target.log")
        self.process = Process(command, self.log)
        wait_for("the JVM", 60, lambda: self.process.must_live() and "ready" in self.log.read_text() and listening(self.port))


class Gateway:
    """Debian's zabbix-java-gateway with its own defaults, but for the addresses and enough threads."""

    def __init__(self, folder):
        self.port = low_port()
        settings = {"listenIP": "127.0.0.1", "listenPort": self.port, "startPollers": GATEWAY_THREADS, "timeout": 30}
        options = [f"-Dzabbix.{name}={value}" for name, value in settings.items()]
        # Its own default logs every step.
        quiet = Path(folder, "logback.xml")
        quiet.write_text('<configuration><root level="off"/></configuration>')
        command = ["java", *options, f"-Dlogback.configurationFile={quiet}", "-jar", "/usr/sbin/zabbix-java-gateway.jar"]
        self.process = Process(command, Path(folder, "gateway.log"))
        wait_for("the gateway", 60, lambda: self.process.must_live() and listening(self.port))

    def ask(self, target):
        """Its own protocol: a header, a length, JSON."""
        url = f"service:jmx:rmi:///jndi/rmi://127.0.0.1:{target}/jmxrmi"
        request = {"request": "java gateway jmx", "conn": "127.0.0.1", "port": target, "jmx_endpoint": url, "keys": KEYS}
        body = json.dumps(request).encode()
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), 30) as line:
            line.sendall(b"ZBXD\x01" + struct.pack("<Q", len(body)) + body)
            while piece := line.recv(65536):
                answer += piece
        values = json.loads(answer[13:])["data"]
        if len(values) != len(KEYS) or any("value" not in value for value in values):
            raise SystemExit(f"the gateway could not read: {values}")

    def round(self, target):
        with concurrent.futures.ThreadPoolExecutor(GATEWAY_THREADS) as pool:
            list(pool.map(self.ask, [target] * CONNECTIONS))


def measure_ours(binary, target):
    command = [binary, str(target.port), str(CONNECTIONS), str(ROUNDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"headroom's client failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


def measure_java(folder, target):
    """Its own compiler gets as many rounds again before what is counted."""
    command = ["java", "-cp", folder, "JmxReader", str(target.port), str(CONNECTIONS), str(ROUNDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"the Java client failed:\n{done.stderr[-3000:]}")
    seen = json.loads(done.stdout)
    return {"cpu_ms": seen["cpu_ms"] / seen["samples"], "rss_kib": seen["rss_kib"]}


def measure_gateway(gateway, target):
    cpu = gateway.process.cpu_ms()
    for _ in range(GATEWAY_ROUNDS):
        gateway.round(target.port)
    samples = GATEWAY_ROUNDS * CONNECTIONS * len(KEYS)
    return {"cpu_ms": (gateway.process.cpu_ms() - cpu) / samples, "rss_kib": gateway.process.memory_kib()}


def main():
    binary, results = sys.argv[1:3]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped: out of time"))
    running = []
    ours, java, theirs = [], [], []
    with tempfile.TemporaryDirectory(prefix="headroom-bench-jmx-") as folder:
        try:
            target = Target(folder)
            subprocess.run(["javac", "-d", folder, JAVA_CLIENT], check=True)
            running.append(target.process)
            gateway = Gateway(folder)
            running.append(gateway.process)
            # Both JVMs compile what is hot first; nobody is to pay for that.
            measure_ours(binary, target)
            gateway.round(target.port)
            for turn in range(TURNS):
                print(f"turn {turn + 1} of {TURNS}: JVMs", flush=True)
                ours.append(measure_ours(binary, target))
                java.append(measure_java(folder, target))
                theirs.append(measure_gateway(gateway, target))
        finally:
            for process in running:
                process.stop()
    text = write(ours, java, theirs)
    print(text)
    Path(results, "jmx.md").write_text(text)


def write(ours, java, theirs):
    apart = spread(each["apart_cpu_ms"] / each["apart_samples"] for each in ours)
    together = spread(each["together_cpu_ms"] / each["together_samples"] for each in ours)
    gateway, client = (spread(each["cpu_ms"] for each in runs) for runs in (theirs, java))
    memory = spread(each["rss_kib"] / 1024 for each in ours)
    gateway_memory, client_memory = (spread(each["rss_kib"] / 1024 for each in runs) for runs in (theirs, java))
    per_connection = spread((each["rss_kib"] - each["before_kib"]) / each["connections"] for each in ours).median
    table = Table("client", "CPU ms per attribute, median", "min", "max", "times headroom", "memory MiB")
    rows = {
        "headroom, three MBeans": (apart, memory),
        "headroom, four attributes of one MBean": (together, memory),
        "a Java client that holds its logins, three MBeans": (client, client_memory),
        "zabbix-java-gateway, three MBeans": (gateway, gateway_memory),
    }
    for name, (cpu, used) in rows.items():
        times = cpu.median / apart.median
        table.row(name, f"{cpu.median:.4f}", f"{cpu.least:.4f}", f"{cpu.most:.4f}", f"{times:.1f}", f"{used.median:.0f}")
    less_cpu, less_memory = gateway.median / apart.median, gateway_memory.median * 1024 / (per_connection * CONNECTIONS)
    goals = Table("target", "wanted", "seen", "")
    goals.row("CPU ms per attribute, warm", "<= 0.15", f"{apart.median:.4f}", verdict(apart.median <= 0.15))
    goals.row("memory per connection, KiB", "<= 30", f"{per_connection:.1f}", verdict(per_connection <= 30))
    goals.row("the gateway costs more CPU by", ">= 5 times", f"{less_cpu:.0f} times", verdict(less_cpu >= 5))
    goals.row("and more memory than these connections by", ">= 20 times", f"{less_memory:.0f} times", verdict(less_memory >= 20))
    return f"""# Collecting over JMX

{CONNECTIONS} logins to one real JVM, {ROUNDS} rounds in each of {TURNS} turns, taken in turn with a Java client that holds as many, and with the gateway, which is asked {CONNECTIONS} times for the same three
attributes and makes a new connection each time, as it always does. CPU is user + system time of the client process; Headroom's is the client alone.
Memory is that of the whole process; the target compares the gateway's with what {CONNECTIONS} connections add to Headroom.

{table}
{goals}
{machine()}
"""


if __name__ == "__main__":
    main()
