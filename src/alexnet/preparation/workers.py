"""Work on several processes, the results in order; any of them, or all, may be killed at any time.

Not concurrent.futures.ProcessPoolExecutor: its workers share one pipe for their results, and when
one dies in the middle of writing, its parent waits for the rest for ever.
"""

import contextlib
import itertools
import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Generic, TypeVar, cast

_TASKS_PER_WORKER = 4  # under way or waiting to be taken, so that memory is bounded

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkersDied(RuntimeError):
    """A worker process was killed, most likely because memory ran out."""


def in_parallel(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Generator[tuple[Task, Result]]:
    """The tasks and what became of them, in order; raises WorkersDied, and what `work` raises.

    `work` is a function of a module, which the processes import; they end with the generator or
    with this process. Signals to stop are for this process alone, also when the group gets them.
    """
    team: list[_Worker[Task, Result]] = []
    # A thread for each process hands it one task after the other.
    threads = ThreadPoolExecutor(workers, initializer=_block_signals)
    resource_tracker.ensure_running()  # its start would unblock the signals
    try:
        with _signals_later():  # and never for the processes, which inherit that
            team += (_Worker(work) for _ in range(workers))
        idle = iter(team)
        mine = threading.local()

        def do(task: Task) -> Result:
            if not hasattr(mine, "worker"):
                mine.worker = next(idle)
            worker: _Worker[Task, Result] = mine.worker
            try:
                result, error = worker.do(task)
            except (EOFError, OSError) as gone:
                raise WorkersDied(
                    "a worker process was killed, perhaps for want of memory: say it again with "
                    f"fewer than workers={workers}"
                ) from gone
            if error:
                raise error
            return cast(Result, result)

        left = iter(tasks)
        waiting: deque[tuple[Task, Future[Result]]] = deque()
        for task in itertools.islice(left, _TASKS_PER_WORKER * workers):
            waiting.append((task, threads.submit(do, task)))
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
            for task in itertools.islice(left, 1):
                waiting.append((task, threads.submit(do, task)))
    finally:
        with _signals_later():
            for worker in team:
                worker.kill()
            threads.shutdown(cancel_futures=True)


def _block_signals() -> set[int]:
    """For this thread, so that they go to the main one; returns what was blocked before."""
    return signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})


@contextlib.contextmanager
def _signals_later() -> Iterator[None]:
    """Until the block ends."""
    before = _block_signals()
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker(Generic[Task, Result]):
    """A process with a pipe of its own, so that its death is the end of the pipe."""

    def __init__(self, work: Callable[[Task], Result]) -> None:
        # Spawned: a fork would copy the state of our threads, and our whole list of images.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(work, theirs), daemon=True)
        self._process.start()
        theirs.close()  # else the end of the pipe would never be seen

    def do(self, task: Task) -> tuple[Result | None, Exception | None]:
        """The result, or what the work has raised; EOFError or OSError if the process is gone."""
        self._pipe.send(task)
        answer: tuple[Result | None, Exception | None] = self._pipe.recv()
        return answer

    def kill(self) -> None:
        """At once, whatever it is doing."""
        self._process.kill()
        self._process.join()


def _serve(work: Callable[[Task], Result], pipe: Connection) -> None:
    """In the process: until the other end of the pipe is gone."""
    answer: tuple[Result | None, Exception | None]
    with contextlib.suppress(EOFError, OSError):
        while True:
            task = pipe.recv()
            try:
                answer = work(task), None
            except Exception as error:
                answer = None, error
            pipe.send(answer)
