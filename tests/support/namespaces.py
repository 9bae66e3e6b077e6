"""Network namespaces for tests that need taps: the script runs again inside, and the namespace ends with it."""
import os
import subprocess
import sys

INSIDE = "SLUICE_TEST_NAMESPACE"


def enter(kinds="n"):
    """`kinds` as unshare's flags: n a network, m mounts. Returns inside; or outside, with the reason why it cannot be."""
    if os.environ.get(INSIDE) == kinds:
        return None
    flag = ("-" if os.geteuid() == 0 else "-Ur") + kinds
    if subprocess.run(["unshare", flag, "true"], capture_output=True).returncode != 0:
        return "no network namespace can be made here; run as root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun cannot be opened; run as root"
    os.environ[INSIDE] = kinds
    os.execvp("unshare", ["unshare", flag, sys.executable, *sys.argv])


def enter_or_skip(kinds="n"):
    """The same; what cannot be is told, and the test is skipped."""
    reason = enter(kinds)
    if reason is not None:
        print(f"skipped: {reason}")
        sys.exit(77)
