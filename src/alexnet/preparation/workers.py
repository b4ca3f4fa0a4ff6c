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
from concurrent.futures import ThreadPoolExecutor, wait
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Generic, TypeVar, cast

from alexnet.signals import handling

_TASKS_PER_WORKER = 4  # under way or waiting to be taken, so that memory is bounded
_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_SECONDS_BETWEEN_SIGNALS = 0.1

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkersDied(RuntimeError):
    """A worker process was killed, most likely because memory ran out."""


def in_parallel(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Generator[tuple[Task, Result]]:
    """The tasks and what became of them, in order. For the main thread.

    Raises WorkersDied, and what `work` raises.

    `work` is a function of a module, which the processes import; they end with the generator or
    with this process. From the first task to the last, signals to stop reach this process alone,
    also when its group gets them, and their handlers are called while it waits for a result: what
    they raise would else leave locks behind that nobody releases.
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
        # A thread for each process hands it one task after the other.
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
    """Only noted in the block, until it calls what it is given, which may raise.

    Not blocked: some library may have threads that would receive them.
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
        # Spawned: a fork would copy the state of our threads, and our whole list of images.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(work, theirs), daemon=True)
        resource_tracker.ensure_running()  # its start would unblock the signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # which the process inherits
        self._process.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
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
