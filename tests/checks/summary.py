#!/usr/bin/env python3
"""Counts what meson ran in the given build folders: each gtest case, and each other test as one. Prints the reasons of
skipped tests, what failed and how, and as the last line "N passed, N failed, N skipped". Fails when anything failed or
nothing ran."""
import glob
import json
import re
import sys
import xml.etree.ElementTree as xml

FAILURE = r"^not ok .*(?:\n#.*)?|^.*: Failure\n(?:.+\n){0,6}|^\[  FAILED  \] .*\)$"  # as TAP and as googletest write it

passed = failed = skipped = 0


def count_junit(path):
    """meson's own JUnit file holds the cases of gtest programs; others are one case each."""
    global passed, failed, skipped
    for case in xml.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None or case.get("status") == "notrun" or case.get("result") == "skipped":
            skipped += 1
        else:
            passed += 1


for folder in sys.argv[1:]:
    files = glob.glob(folder + "/meson-logs/*.junit.xml")
    if not files:
        print(f"no test ran in {folder}")
        failed += 1
    for path in files:
        count_junit(path)
    for path in glob.glob(folder + "/meson-logs/testlog*.json"):
        for line in open(path):
            test = json.loads(line)
            for reason in re.findall(r"^(?:.*Skipped\n)?(skipped: .*)$", test.get("stdout", ""), re.MULTILINE):
                print(f"{test['name']}: {reason}")
            if test["result"] not in ("OK", "SKIP", "EXPECTEDFAIL"):
                print(f"{test['name']}: {test['result']}")
                for failure in re.findall(FAILURE, test.get("stdout", ""), re.MULTILINE):
                    print(f"  {failure[:1000]}")

print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(1 if failed or not passed else 0)
