#!/usr/bin/env python3
"""Each header compiles alone. A header that opens a source file, or opens a header that does, is compiled so by every build;
the others are compiled here, in parallel. Sources with a precompiled header before their first line prove nothing."""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPILER = sys.argv[1] if len(sys.argv) > 1 else "g++"
LAYERS = [ROOT / "stack", ROOT / "drivers"]
INCLUDES = [ROOT, ROOT / "drivers/runtime/include"]
FLAGS = ["-std=c++20", "-fsyntax-only", "-x", "c++", *(f"-I{folder}" for folder in INCLUDES), "-"]


def first_include(path):
    """What it includes before anything else is said, if that is ours."""
    first = re.match(r'(?://.*\n|\s|#pragma once\n)*#include "(.*)"', path.read_text())
    return next((folder / first[1] for folder in INCLUDES if (folder / first[1]).exists()), None) if first else None


def built_alone():
    """The headers that a build compiles alone: from each source down along the first includes."""
    proven = set()
    for build in (path for layer in LAYERS for path in layer.glob("**/meson.build")):
        sources = [] if "cpp_pch" in build.read_text() else re.findall(r"'(\w+\.cc)'", build.read_text())
        for source in sources:
            header = first_include(build.parent / source)
            while header and header not in proven:
                proven.add(header)
                header = first_include(header)
    return proven


def check(header):
    done = subprocess.run([COMPILER, *FLAGS], input=f'#include "{header}"\n', capture_output=True, text=True)
    return header.relative_to(ROOT), done.stderr if done.returncode else ""


headers = {path for layer in LAYERS for path in layer.glob("**/*.h*")} - built_alone()
failed = False
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for header, error in pool.map(check, sorted(headers)):
        if error:
            failed = True
            print(f"{header} does not compile alone:\n{error}")
sys.exit(1 if failed else 0)
