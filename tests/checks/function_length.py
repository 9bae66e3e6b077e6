#!/usr/bin/env python3
"""No function over 60 lines in stack, drivers and apps. Needs universal-ctags; exit code 77 without it."""
import pathlib
import shutil
import subprocess
import sys

LIMIT = 60
ROOT = pathlib.Path(__file__).resolve().parents[2]

if not shutil.which("ctags"):
    print("skipped: ctags is not installed (apt-get install universal-ctags)")
    sys.exit(77)
files = [str(p) for folder in ("stack", "drivers", "apps") for p in (ROOT / folder).glob("**/*") if p.suffix in (".h", ".cc", ".hpp")]
tags = subprocess.run(["ctags", "-f", "-", "--fields=+ne", "--c++-kinds=f", "--language-force=C++", *files],
                      capture_output=True, text=True, check=True).stdout
found = []
for row in tags.splitlines():
    fields = row.split("\t")
    extra = dict(f.split(":", 1) for f in fields[3:] if ":" in f)
    if "end" in extra and "line" in extra:
        lines = int(extra["end"]) - int(extra["line"]) + 1
        if lines > LIMIT:
            found.append(f"{lines} lines: {fields[0]} in {pathlib.Path(fields[1]).relative_to(ROOT)}")
print("\n".join(sorted(found, reverse=True)))
sys.exit(1 if found else 0)
