"""Tables and figures as the results are written."""

import datetime
import os
import statistics
import subprocess
from collections import namedtuple
from pathlib import Path

Spread = namedtuple("Spread", "median least most")


def spread(values):
    values = list(values)
    return Spread(statistics.median(values), min(values), max(values))


def verdict(met):
    return "met" if met else "MISSED"


class Table:
    """Markdown that also reads well in a terminal."""

    def __init__(self, *heads):
        self.rows = [heads]

    def row(self, *cells):
        self.rows.append(cells)

    def __str__(self):
        widths = [max(len(str(row[column])) for row in self.rows) for column in range(len(self.rows[0]))]
        lines = []
        for row in self.rows:
            cells = (str(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("| " + " | ".join(cells) + " |")
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join(lines) + "\n"


def machine():
    """What the figures were taken on."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), "unknown")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // (1024 * 1024)
    sshd = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr.split(",")[0]
    today = datetime.datetime.now(datetime.UTC).date()
    return f"Taken {today} on {os.cpu_count()} cores ({model}), {memory} GiB, {sshd}."


if __name__ == "__main__":
    print(machine())
