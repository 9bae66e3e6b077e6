#!/usr/bin/env python3
"""Each header compiles alone. Headers are compiled in a few translation units in parallel, each header in each first once."""
import concurrent.futures
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPILER = sys.argv[1] if len(sys.argv) > 1 else "g++"
FLAGS = ["-std=c++20", "-fsyntax-only", "-x", "c++", "-I", str(ROOT), "-I", str(ROOT / "drivers/runtime/include"), "-"]


def check(header):
    source = f'#include "{header}"\n'
    done = subprocess.run([COMPILER, *FLAGS], input=source, capture_output=True, text=True)
    return header, done.stderr if done.returncode else ""


headers = [p.relative_to(ROOT) for folder in ("stack", "drivers") for p in sorted((ROOT / folder).glob("**/*.h*"))]
failed = False
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for header, error in pool.map(check, headers):
        if error:
            failed = True
            print(f"{header} does not compile alone:\n{error}")
sys.exit(1 if failed else 0)
