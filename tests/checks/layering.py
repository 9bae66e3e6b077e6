#!/usr/bin/env python3
"""Who may include whom (the table of docs/ARCHITECTURE.md), and no system headers in stack/."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
STACK = ["base", "buf", "wire", "link", "ip", "udp", "tcp", "tcp/cc", "socket"]
LOW = ["stack/base", "stack/buf", "stack/wire"]
ALLOWED = {
    "stack/base": [],
    "stack/buf": ["stack/base"],
    "stack/wire": ["stack/base"],
    "stack/link": LOW,
    "stack/ip": LOW + ["stack/link"],
    "stack/udp": LOW + ["stack/ip"],
    "stack/tcp": LOW + ["stack/ip", "stack/tcp/cc"],
    "stack/tcp/cc": ["stack/base"],
    "stack/socket": LOW + ["stack/ip", "stack/udp", "stack/tcp", "stack/tcp/cc"],
    "stack": ["stack/" + layer for layer in STACK],
    "drivers": LOW,
    "drivers/runtime": LOW + ["drivers", "stack", "stack/socket", "stack/tcp/cc", "sluice"],
    "drivers/sim": LOW + ["drivers", "stack", "sluice"],
    "drivers/runtime/include/sluice": LOW + ["stack", "drivers", "sluice"],
    "drivers/packetdrill": LOW + ["drivers", "drivers/runtime", "stack", "stack/socket", "stack/tcp/cc"],
    "apps": LOW + ["sluice", "drivers", "apps/run"],
    "apps/run": ["stack/base", "sluice", "apps"],
}
EXTRA = {  # single files beyond the folder's row
    "drivers": {"stack/link/netdev.h"},
    "drivers/runtime": {"stack/link/netdev.h"},
    "drivers/packetdrill": {"stack/link/netdev.h"},
    "drivers/runtime/include/sluice": {"stack/tcp/tcp.h"},
    "drivers/sim": {"stack/link/netdev.h"},
}
SYSTEM = re.compile(r"^(sys/|net/|netinet/|arpa/|linux/|pcap|unistd|fcntl|poll|thread$|mutex$|random$|chrono$|iostream$|functional$|"
                    r"condition_variable$|future$|atomic$|fstream$|filesystem$)")


def problems():
    for path in sorted(ROOT.glob("stack/**/*")) + sorted(ROOT.glob("drivers/**/*")) + sorted(ROOT.glob("apps/**/*")):
        if path.suffix not in (".h", ".cc", ".hpp"):
            continue
        folder = str(path.parent.relative_to(ROOT)).removesuffix("/pch")  # what is compiled ahead for a folder is its own
        where = path.relative_to(ROOT)
        for number, line in enumerate(path.read_text().splitlines(), 1):
            system = re.match(r"#include <([^>]+)>", line)
            if system and folder.startswith("stack") and SYSTEM.match(system[1]):
                yield f"{where}:{number}: system header <{system[1]}> in the core"
            ours = re.match(r'#include "([^"]+)"', line)
            if not ours:
                continue
            target = str(pathlib.PurePosixPath(ours[1]).parent)
            if target == folder or target in ALLOWED[folder] or ours[1] in EXTRA.get(folder, ()):
                continue
            yield f"{where}:{number}: {folder} may not include {ours[1]}"


found = list(problems())
print("\n".join(found))
sys.exit(1 if found else 0)
