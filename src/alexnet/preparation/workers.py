"""Parallel work in several processes, with results in order; any process may be killed.

concurrent.futures.ProcessPoolExecutor is not used: its workers share one pipe for their results,
and if one dies while it writes, the parent waits for the rest forever.
"""

import contextlib
import itertools
import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Generic, TypeVar, cast

from alexnet.signals import handling

_TASKS_PER_WORKER = 4  # tasks in progress or waiting, which bounds the memory
_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_SECONDS_BETWEEN_SIGNALS = 0.1

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkersDied(RuntimeError):
    """A worker process was killed, most likely because memory ran out."""


def in_parallel(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Generator[tuple[Task, Result]]:
    """Yield the tasks and their results in order. Call it in the main thread.

    `work` is a function of a module, which the processes import. They end with the generator or
    with this process. While it runs, signals to stop reach only this process, even if they are sent
    to its group. Their handlers are called while it waits for a result, because an exception
    elsewhere could leave locks that are never released.

    Raises WorkersDied, and what `work` raises.
    """
    left = iter(tasks)
    first_tasks = list(itertools.islice(left, _TASKS_PER_WORKER * workers))
    team: list[_Worker[Task, Result]] = []
    idle: SimpleQueue[_Worker[Task, Result]] = SimpleQueue()
    mine = threading.local()

    def do(task: Task) -> Result:
        if not hasattr(mine, "worker"):
            mine.worker = idle.get()
        worker: _Worker[Task, Result] = mine.worker
        try:
            result, error = worker.do(task)
        except (EOFError, OSError) as gone:
            raise WorkersDied(
                "a worker process was killed, perhaps because memory ran out: run the same command "
                f"again with fewer than workers={workers}"
            ) from gone
        if error:
            raise error
        return cast(Result, result)

    with _signals_later() as call_handlers:
        # A thread for each process passes it one task after the other.
        threads = ThreadPoolExecutor(workers)
        try:
            for _ in range(min(workers, len(first_tasks))):
                team.append(_Worker(work))
                idle.put(team[-1])
                call_handlers()
            waiting = deque((task, threads.submit(do, task)) for task in first_tasks)
            while waiting:
                first, future = waiting.popleft()
                while not wait([future], timeout=_SECONDS_BETWEEN_SIGNALS).done:
                    call_handlers()
                call_handlers()
                yield first, future.result()
                for task in itertools.islice(left, 1):
                    waiting.append((task, threads.submit(do, task)))
        finally:
            for worker in team:
                worker.kill()
            threads.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _signals_later() -> Iterator[Callable[[], None]]:
    """Record signals in the block, which is given a function that calls their handlers.

    The handlers may raise. Signals are not blocked, because threads of some library could receive
    them.
    """
    noted: SimpleQueue[int] = SimpleQueue()

    def call_handlers() -> None:
        while not noted.empty():
            number = signal.Signals(noted.get())
            if callable(handler := handlers[number]):
                handler(number, None)

    with handling(lambda number, frame: noted.put(number), _SIGNALS) as handlers:
        yield call_handlers
    call_handlers()  # if nothing was raised


class _Worker(Generic[Task, Result]):
    """A process with a pipe of its own, so that its death is the end of the pipe."""

    def __init__(self, work: Callable[[Task], Result]) -> None:
        # Spawned, because a fork would copy the state of our threads and our whole list of images.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(work, theirs), daemon=True)
        resource_tracker.ensure_running()  # started first, because its start unblocks signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # inherited by the process
        self._process.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()  # otherwise the end of the pipe would never be noticed

    def do(self, task: Task) -> tuple[Result | None, Exception | None]:
        """Return the result, or the exception of the work.

        Raises EOFError or OSError if the process has died.
        """
        self._pipe.send(task)
        answer: tuple[Result | None, Exception | None] = self._pipe.recv()
        return answer

    def kill(self) -> None:
        """Kill the process at once."""
        self._process.kill()
        self._process.join()


def _serve(work: Callable[[Task], Result], pipe: Connection) -> None:
    """Work on tasks in the process, until the other end of the pipe is closed."""
    answer: tuple[Result | None, Exception | None]
    with contextlib.suppress(EOFError, OSError):
        while True:
            task = pipe.recv()
            try:
                answer = work(task), None
            except Exception as error:
                answer = None, error
            pipe.send(answer)
