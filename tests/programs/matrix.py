#!/usr/bin/env python3
"""Real programs under `sluice run`. Each case runs twice by the same code: natively on the kernel's sockets, then with the
program's sockets on a stack over a tap, its peer always on the kernel's. What the two runs return has to be equal. Output
in TAP. Arguments: the sluice binary, then the names of cases (default: all)."""
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import cases_clients
import cases_probes
import cases_servers
from world import Native, Skip, Sluice

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import namespaces

LISTS = {"server": cases_servers.CASES, "client": cases_clients.CASES, "probe": cases_probes.CASES}


def compare(case, sluice):
    """Runs it natively and on the stack; an exception says what differs."""
    results = []
    for kind in (Native, Sluice):
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            os.chmod(folder, 0o755)
            world = stack.enter_context(kind(sluice, pathlib.Path(folder)))
            try:
                results.append(case(world))
            except Skip:
                raise
            except Exception as error:
                raise AssertionError(f"{world.name}: {type(error).__name__}: {error} {world.complaints()}") from error
    if results[0] is None:
        raise AssertionError("the case returned nothing to compare")
    if results[0] != results[1]:
        raise AssertionError(f"natively {results[0]!r:.1500}, under sluice run {results[1]!r:.1500}")


def main():
    namespaces.enter_or_skip("nm")  # mounts for a resolv.conf of our own
    sluice = pathlib.Path(sys.argv[1]).resolve()
    wanted = sys.argv[2:]
    chosen = [(f"{role} {case.__name__}", case) for role, cases in LISTS.items() for case in cases
              if not wanted or case.__name__ in wanted]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    print(f"1..{len(chosen)}")
    failed = 0
    for number, (name, case) in enumerate(chosen, 1):
        start = time.monotonic()
        try:
            compare(case, sluice)
            print(f"ok {number} - {name}", flush=True)
        except Skip as reason:
            print(f"ok {number} - {name} # SKIP {reason}", flush=True)
        except Exception as error:  # a case fails by any exception
            failed += 1
            text = str(error).replace("\n", "\n#   ")
            print(f"not ok {number} - {name}\n# {text}", flush=True)
        print(f"# {time.monotonic() - start:.1f} s", flush=True)
    sys.exit(1 if failed else 0)


main()
