"""A process that has imported torch and Lightning, and from which runs are forked.

Importing them takes a run several seconds, often longer than a small network trains. The server
imports them once, starts no thread and touches no GPU, and each run is a fork of it: a process of
its own, with its own signals, output, environment and exit status.

Linux only. Elsewhere, on GPUs, and with ALEXNET_LAB_FORK_SERVER=0, each run has its own imports.
"""

import atexit
import errno
import gc
import hashlib
import importlib
import json
import logging
import os
import secrets
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from alexnet.run.child import Child
from alexnet.signals import SIGNALS_TO_STOP

VARIABLE = "ALEXNET_LAB_FORK_SERVER"
"""Environment variable with the address of a running server, or 0 to use none."""

# Libraries read these when they are loaded, which a fork does not repeat: another value needs
# another server. All other variables of a process are set after the fork.
_READ_WHEN_LOADED = (
    "ATEN_", "BLIS_", "DNNL_", "GOMP_", "KMP_", "LD_", "MALLOC_", "MKL_", "NUMBA_", "OMP_",
    "ONEDNN_", "OPENBLAS_", "PYTHON", "PYTORCH_", "TORCH",
)  # fmt: skip
_NEEDED_BY_RUNS = (
    "torch",
    "lightning.pytorch",
    "alexnet.data",
    "alexnet.learning",
    "alexnet.model",
)

RUN = [sys.executable, "-P", "-m", "alexnet.run"]
"""The command of a run, without its arguments: what the server has imported."""

_LARGEST_REQUEST = 2**17  # bytes: arguments and environment of a process


def start_child(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str], fork: bool = True
) -> "Child | ForkedChild":
    """Start a command; if it begins with RUN, fork it from a server where that is possible."""
    is_wanted = fork and os.environ.get(VARIABLE) != "0"
    if is_wanted and sys.platform == "linux" and command[: len(RUN)] == RUN:
        with suppress(OSError):
            address = _address(environment)
            return ForkedChild(address, command, log=log, environment=environment)
    return Child(command, log=log, environment={**environment, VARIABLE: "0"})


class ForkedChild:
    """A process forked from the server at an address. It is used like a Child.

    If the server ends before it has forked this process, a Child is started instead.
    Raises OSError if no server of this user listens there.
    """

    def __init__(
        self, address: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]
    ) -> None:
        self.returncode: int | None = None
        self._command = command
        self._start_anew = partial(Child, command, log=log, environment=environment)
        self._instead: Child | None = None
        self._signal = 0  # the last that was sent
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        request = {
            "arguments": command[len(RUN) - 1 :],
            "environment": {**environment, VARIABLE: address},
            "folder": os.getcwd(),
            # As after exec: what is ignored stays ignored, for example SIGHUP under nohup.
            "ignored": [n for n in SIGNALS_TO_STOP if signal.getsignal(n) is signal.SIG_IGN],
        }
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._server.connect(f"\0{address}")
            if not _is_this_user(self._server):
                raise PermissionError(f"{address} is a server of another user")
            message = json.dumps(request).encode()
            if len(message) > _LARGEST_REQUEST:
                raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
            # Nothing is written to this pipe: the process ends when its other end is closed.
            theirs, self._stdin = os.pipe()
            try:
                with log.open("ab") as output:
                    socket.send_fds(self._server, [message], [theirs, output.fileno()])
            except BaseException:
                os.close(self._stdin)
                raise
            finally:
                os.close(theirs)
        except BaseException:
            self._server.close()
            raise
        threading.Thread(target=self._watch, daemon=True).start()

    def when_ended(self, function: Callable[[int], object]) -> None:
        """Call the function with the return code, in a thread of its own."""
        threading.Thread(target=lambda: function(self.wait()), daemon=True).start()

    def poll(self) -> int | None:
        """Return the code of the process, or None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process, and return its code: minus the signal if one ended it.

        Raises TimeoutExpired if it still runs after `timeout` seconds.
        """
        if not self._is_over.wait(timeout):
            raise subprocess.TimeoutExpired(self._command, timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, without effect if the process has ended."""
        with self._lock:
            self._signal = number
            if self._instead:
                self._instead.send_signal(number)
            else:  # the server knows whether the process still exists
                with suppress(OSError):
                    self._server.send(bytes([number]))

    def terminate(self) -> None:
        """Ask the process to stop, by SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once, by SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def end(self) -> int:
        """Wait for the end of the process, and return its code."""
        return self.wait()

    def _watch(self) -> None:
        said: list[bytes] = []
        with suppress(OSError):  # the server was killed while it had something to read
            while len(said) < 2 and (message := self._server.recv(16)):
                said.append(message)
        os.close(self._stdin)  # if the server is gone and the process is not, this ends it
        code = int(said[1]) if len(said) == 2 else -signal.SIGKILL
        if not said:
            with self._lock:
                if not self._signal:
                    self._instead = self._start_anew()
            code = self._instead.end() if self._instead else -self._signal
        self._server.close()
        self.returncode = code
        self._is_over.set()


class ForkServer:
    """A server of this process, which ends with it; `address` is where it listens."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.address = f"alexnet-lab-{secrets.token_hex(8)}-{_digest(environment)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(f"\0{self.address}")
            listener.listen(128)
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "alexnet.run.fork_server", str(listener.fileno())],
                env={**environment, VARIABLE: "0"}, pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

    def end(self) -> None:
        """End the server as soon as the processes that were forked from it have ended."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


_servers: dict[str, ForkServer] = {}
"""Servers of this process, by the digest of the variables that libraries read."""


def _address(environment: Mapping[str, str]) -> str:
    """Return the address of a server for this environment: a running one, or a new one."""
    digest = _digest(environment)
    given = os.environ.get(VARIABLE, "")
    if given.endswith(digest):
        return given
    server = _servers.get(digest)
    if server is None or server.process.poll() is not None:
        server = _servers[digest] = ForkServer(environment)
    return server.address


def _digest(environment: Mapping[str, str]) -> str:
    values = sorted(item for item in environment.items() if item[0].startswith(_READ_WHEN_LOADED))
    return hashlib.sha256(repr((sys.executable, values)).encode()).hexdigest()[:16]


def _is_this_user(connection: socket.socket) -> bool:
    """Return whether the process at the other end belongs to the same user."""
    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return struct.unpack("3i", credentials)[1] == os.geteuid()


class _Server:
    """The server process: forks processes, and tells each client how its process ended."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._running: dict[int, socket.socket] = {}
        for number in SIGNALS_TO_STOP:  # batch systems send them to every process of a job
            signal.signal(number, signal.SIG_IGN)

    def serve(self) -> None:
        """Fork processes until standard input closes and all are over.

        Returns only in a forked process, which then is as requested, and has to run the program.
        """
        wakes, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self._ready = selectors.DefaultSelector()
        self._ready.register(0, selectors.EVENT_READ)
        self._ready.register(wakes, selectors.EVENT_READ)
        self._ready.register(self._listener, selectors.EVENT_READ)
        is_wanted = True
        while is_wanted or self._running:
            for key, _ in self._ready.select():
                if key.fileobj is self._listener:
                    if request := self._fork():
                        for descriptor in (wakes, wake):
                            os.close(descriptor)
                        request.become()
                        return
                elif key.fileobj == wakes:
                    os.read(wakes, 512)
                    self._reap()
                elif key.fileobj == 0:
                    self._ready.unregister(0)
                    is_wanted = False
                elif key.data in self._running:  # not reaped since
                    self._pass_on(key.data)
        os._exit(0)

    def _fork(self) -> "_Request | None":
        """Fork a process. Return the request in the new process, and None in this one."""
        connection, _ = self._listener.accept()
        request = _Request.receive(connection) if _is_this_user(connection) else None
        if request is None:
            connection.close()
            return None
        try:
            pid = os.fork()
        except OSError:  # no more processes or memory: without an answer the client starts a Child
            pid = -1
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._ready.close()
            for opened in (self._listener, connection, *self._running.values()):
                opened.close()
            return request
        request.close()
        if pid > 0:
            connection.send(b"forked")
            self._running[pid] = connection
            self._ready.register(connection, selectors.EVENT_READ, data=pid)
        else:
            connection.close()
        return None

    def _reap(self) -> None:
        """Tell the client of each ended process how it ended."""
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            connection = self._running.pop(pid)
            with suppress(OSError):  # the client is gone
                connection.send(str(os.waitstatus_to_exitcode(status)).encode())
            with suppress(KeyError):
                self._ready.unregister(connection)
            connection.close()

    def _pass_on(self, pid: int) -> None:
        """Pass a signal on to a process; if its client is gone, the process ends by itself."""
        connection = self._running[pid]
        said = b""
        with suppress(OSError):
            said = connection.recv(1)
        if said:
            os.kill(pid, said[0])
        else:
            self._ready.unregister(connection)


@dataclass(frozen=True)
class _Request:
    """A client's request for a process."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    ignored: list[int]
    descriptors: list[int]  # standard input and output

    @classmethod
    def receive(cls, connection: socket.socket) -> "_Request | None":
        """Receive the request of a client; None if the client is gone."""
        message, descriptors, _, _ = socket.recv_fds(connection, _LARGEST_REQUEST, 2)
        return cls(**json.loads(message), descriptors=descriptors) if message else None

    def close(self) -> None:
        """Close the descriptors that were received."""
        for descriptor in self.descriptors:
            os.close(descriptor)

    def become(self) -> None:
        """Turn this process into the requested one."""
        for number in SIGNALS_TO_STOP:
            ignored = number in self.ignored
            signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
        # As Python does when it starts.
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        stdin, output = self.descriptors
        for descriptor, standard in ((stdin, 0), (output, 1), (output, 2)):
            os.dup2(descriptor, standard)
        self.close()
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)
        sys.argv = self.arguments


def main() -> int | str:
    """Import and serve; in a forked process, do the run as `python -m alexnet.run` does."""
    server = _Server(socket.socket(fileno=int(sys.argv[1])))
    codes: list[int] = []
    atexit.register(_leave, codes)  # the first to be registered is the last to be called
    # Read by torch at its first allocation: see alexnet.run.__main__.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    for module in _NEEDED_BY_RUNS:
        importlib.import_module(module)
    from alexnet.model import LRN_KERNEL

    if LRN_KERNEL == "numba":
        importlib.import_module("alexnet.model.lrn_kernel").load_kernels()
    import numpy

    from alexnet.config.schema import training_schema
    from alexnet.run.__main__ import main as run
    from alexnet.run.provenance import code_in_use

    code_in_use()
    training_schema(None)  # is cached, and reads half of Lightning's source
    # A lock that another thread holds stays locked in a fork. OpenBLAS starts threads when it is
    # loaded, but ends them before a fork and starts them again when they are needed.
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    if len(os.listdir("/proc/self/task")) > 1:
        return "an import has started a thread, so this process cannot be forked"
    gc.collect()
    gc.freeze()  # keeps the memory of the imports shared
    server.serve()
    numpy.random.seed()  # from the system, as in a new process; `random` is seeded at a fork
    codes.append(run())
    return codes[0]


def _leave(codes: Sequence[int]) -> None:
    """End a process whose run has ended, without half a second of cleaning up the imports."""
    if codes:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(codes[0])


if __name__ == "__main__":
    sys.exit(main())
