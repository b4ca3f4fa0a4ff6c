import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alexnet.folders.ending import Exit
from alexnet.folders.run import RunDir
from alexnet.run.child import Child
from alexnet.run.fork_server import RUN, VARIABLE, ForkedChild, ForkServer, start_child
from tests.conftest import as_a_user

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux only")


def forked(folder: Path, *arguments: str, server: ForkServer | None = None) -> ForkedChild:
    """A process of a run, whose log is in the folder."""
    address = server.address if server else as_a_user()[VARIABLE]
    command = [*RUN, *arguments]
    return ForkedChild(address, command, log=folder / "train.log", environment=as_a_user())


@contextmanager
def reading_its_configuration(
    folder: Path, server: ForkServer | None = None
) -> Iterator[ForkedChild]:
    """A process of a run that waits for its configuration, which never comes."""
    pipe = folder / "config.yaml"
    os.mkfifo(pipe)
    process = forked(folder, str(folder), "--config", str(pipe), server=server)
    with pipe.open("w"):  # as soon as the process has opened it too
        yield process


def test_a_forked_process_prints_into_its_log_and_has_its_own_exit_status(tmp_path: Path):
    right, wrong = forked(tmp_path, "--help"), forked(tmp_path, ".", "--hlep")

    assert (right.wait(), wrong.wait()) == (0, 2)
    assert "configuration, if not that of the folder" in (tmp_path / "train.log").read_text()
    assert "unrecognized arguments: --hlep" in (tmp_path / "train.log").read_text()


def test_a_forked_process_has_a_session_and_the_folder_of_its_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)

    with reading_its_configuration(tmp_path) as process:
        pid = RunDir(tmp_path).read_status()["pid"]
        assert os.getsid(pid) == pid != os.getsid(0)
        assert Path(f"/proc/{pid}/cwd").readlink() == tmp_path
        assert process.poll() is None
        process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, Exit.STOPPED), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_signal_reaches_a_forked_process(tmp_path: Path, number: signal.Signals, code: int):
    with reading_its_configuration(tmp_path) as process:
        process.send_signal(number)

        assert process.wait() == code
    process.send_signal(number)  # which is over


def test_a_forked_process_ends_with_its_client(tmp_path: Path):
    with reading_its_configuration(tmp_path) as process:
        os.dup2(os.open(os.devnull, os.O_WRONLY), process._stdin)  # closes the end that it watches

        assert process.wait() == -signal.SIGKILL


def test_a_server_that_ends_before_it_has_forked_is_done_without(tmp_path: Path):
    server = ForkServer(as_a_user())
    server.process.send_signal(signal.SIGSTOP)

    process = forked(tmp_path, "--help", server=server)
    server.process.kill()

    assert process.wait() == 0
    assert "configuration, if not that of the folder" in (tmp_path / "train.log").read_text()


def test_a_process_told_to_stop_before_it_was_forked_has_stopped(tmp_path: Path):
    server = ForkServer(as_a_user())
    server.process.send_signal(signal.SIGSTOP)

    process = forked(tmp_path, "--help", server=server)
    process.terminate()
    server.process.kill()

    assert process.wait() == -signal.SIGTERM


def test_without_a_server_at_its_address_a_process_imports_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server = ForkServer(as_a_user())
    server.process.kill()
    server.end()
    monkeypatch.setenv(VARIABLE, server.address)

    process = start_child([*RUN, "--help"], log=tmp_path / "train.log", environment=as_a_user())

    assert isinstance(process, Child)
    process.kill()
    process.end()


def test_a_variable_that_libraries_read_when_they_are_loaded_needs_another_server():
    servers = [ForkServer(as_a_user({"OMP_NUM_THREADS": number})) for number in "123"]
    servers += [ForkServer(as_a_user({"OMP_NUM_THREADS": "3", "MASTER_PORT": "1"}))]
    for server in servers:
        server.process.kill()
        server.end()

    of_1, of_2, of_3, of_3_as_well = (server.address.rpartition("-")[2] for server in servers)
    assert len({of_1, of_2, of_3}) == 3
    assert of_3 == of_3_as_well
