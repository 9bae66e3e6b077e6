"""Where a case runs: the program under test natively or under `sluice run`, its peers on the kernel's sockets."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import time

PEER, PROGRAM = "10.0.0.1", "10.0.0.2"  # the addresses of the peer and of the program under test
LONG = 60  # s: far more than any case needs; the limit of a hanging program


class Skip(Exception):
    pass


def need(*programs):
    for program in programs:
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/usr/lib/git-core"):
            raise Skip(f"{program} is not installed")


def check(condition, message):
    if not condition:
        raise AssertionError(message)


class Done:
    """What a program has said and how it ended."""

    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def __repr__(self):
        return f"exit {self.code}: {self.out[-600:]!r} {self.err[-600:]!r}"


class World:
    name = "?"
    prefix = []
    root = os.geteuid() == 0

    def __init__(self, sluice, folder):
        self.sluice, self.folder, self.stack, self.logs = sluice, folder, contextlib.ExitStack(), []

    def __exit__(self, *unused):
        self.stack.close()

    def complaints(self):
        """The last that background programs have said on stderr."""
        return " ".join(log.read_text(errors="replace")[-400:] for log in self.logs if log.exists())

    # The program under test.
    def run(self, *command, **more):
        return self.peer(*self.prefix, *command, **more)

    def start(self, *command, port=None, udp=False, **more):
        """In the background, until it listens on the port."""
        process = self.spawn([*self.prefix, *command], **more)
        if port is not None:
            self.wait_until(lambda: self.program_listens(port, udp), process, f"port {port}")
        return process

    # Programs beside it, on the kernel's sockets.
    def peer(self, *command, data=None, ok=True, **more):
        done = Done(subprocess.run([str(word) for word in command], input=data, capture_output=True, timeout=LONG,
                                   text=not isinstance(data, bytes) and more.pop("text", True), **more))
        check(not ok or done.code == 0, f"{' '.join(map(str, command))}: {done}")
        return done

    def start_peer(self, *command, port=None, udp=False, **more):
        process = self.spawn(command, **more)
        if port is not None:
            self.wait_until(lambda: kernel_listens(port, udp), process, f"port {port}")
        return process

    def spawn(self, command, **more):
        log = self.folder / f"log{len(self.logs)}"
        self.logs.append(log)
        more.setdefault("stdin", subprocess.DEVNULL)
        more.setdefault("stdout", subprocess.DEVNULL)
        with open(log, "w") as errors:
            process = subprocess.Popen([str(word) for word in command], stderr=errors, start_new_session=True, **more)
        self.stack.callback(end, process)
        return process

    def wait_until(self, condition, process, what):
        for _ in range(500):
            if condition():
                return
            check(process.poll() is None, f"{process.args} has ended with {process.poll()}")
            time.sleep(0.02)
        raise AssertionError(f"{process.args}: no {what} after 10 s")

    def resolve_at(self, server):
        """/etc/resolv.conf names this server, for the rest of the case."""
        place = os.path.realpath("/etc/resolv.conf")
        ours = self.write("resolv.conf", f"nameserver {server}\noptions timeout:2 attempts:1\n")
        subprocess.run(["mount", "--bind", str(ours), place], check=True)
        self.stack.callback(subprocess.run, ["umount", place], check=True)

    def file(self, name, size):
        path = self.folder / name
        path.write_bytes(os.urandom(size))
        return path

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path


def end(process):
    """Asks it to end, then its whole session."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()


def kernel_listens(port, udp):
    rows = subprocess.run(["ss", "-Hlnu" if udp else "-Hlnt"], capture_output=True, text=True, check=True).stdout
    return any(row.split()[3].endswith(f":{port}") for row in rows.splitlines())


class Native(World):
    name = "natively"

    def __enter__(self):
        for address in (PEER, PROGRAM):
            subprocess.run(["ip", "address", "add", address + "/32", "dev", "lo"], check=True)
            self.stack.callback(subprocess.run, ["ip", "address", "del", address + "/32", "dev", "lo"], check=True)
        return self

    def program_listens(self, port, udp):
        return kernel_listens(port, udp)


class Sluice(World):
    name = "under sluice run"

    def __enter__(self):
        tap = ["tuntap", "add", "dev", "tap0", "mode", "tap"]
        subprocess.run(["ip", *tap], check=True)
        self.stack.callback(subprocess.run, ["ip", "tuntap", "del", *tap[2:]], check=True)
        subprocess.run(["ip", "address", "add", PEER + "/24", "dev", "tap0"], check=True)
        subprocess.run(["ip", "link", "set", "tap0", "up"], check=True)
        self.control = self.folder / "control"
        self.prefix = [self.sluice, "run", "--dev", "tap:tap0", "--addr", PROGRAM + "/24", "--control", self.control, "--"]
        return self

    def program_listens(self, port, udp):
        asked = subprocess.run([str(self.sluice), "ss", "-lnu" if udp else "-lnt", "--control", str(self.control)],
                               capture_output=True, text=True)
        return any(row.split()[3].endswith(f":{port}") for row in asked.stdout.splitlines()[1:] if len(row.split()) > 3)


def certificate(world):
    """cert.pem and key.pem in the case's folder."""
    world.peer("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj",
               "/CN=sluice", "-keyout", world.folder / "key.pem", "-out", world.folder / "cert.pem")


def rsync_module(world):
    """Some files, and the configuration of a daemon that offers them as `files`."""
    folder = world.folder / "files"
    folder.mkdir()
    for i in range(20):
        (folder / f"file{i}").write_bytes(bytes([i]) * (i * 10_007))
    world.write("rsyncd.conf", f"use chroot = no\n[files]\n  path = {folder}\n  read only = yes\n")
    return ["rsync", "--daemon", "--no-detach", "--port=8730", f"--config={world.folder}/rsyncd.conf"]


def same_files(world, copy):
    return [(copy / path.name).read_bytes() == path.read_bytes() for path in sorted((world.folder / "files").iterdir())]


def ssh_keys(world):
    """Keys for a server and a client, the server's configuration; options of the client's."""
    folder = world.folder
    for name in ("host", "user"):
        world.peer("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
    world.write("sshd_config", f"Port 2222\nListenAddress 0.0.0.0\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
                               f"StrictModes no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\nPermitRootLogin yes\n")
    if world.root:
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
    return ["-q", "-F", "none", "-i", folder / "user", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]
