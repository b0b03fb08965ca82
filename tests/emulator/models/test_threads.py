"""Threads of models."""

import threading

from dispatcher.emulator.models.threads import DaemonThreads


def test_threads_are_bounded_and_end() -> None:
    threads = DaemonThreads(2)
    gate, names = threading.Event(), set[str]()

    def call(number: int) -> int:
        names.add(str(threading.get_ident()))
        assert gate.wait(10)
        return number

    futures = [threads.submit(call, n) for n in range(6)]
    gate.set()
    assert [future.result(10) for future in futures] == list(range(6))
    assert len(names) <= 2
    failing = threads.submit(int, "x")
    assert isinstance(failing.exception(10), ValueError)
    mine = [t for t in threading.enumerate() if t.name == "emulated-model"]
    assert all(thread.daemon for thread in mine)
    threads.shutdown()
    for thread in mine:
        thread.join(10)
        assert not thread.is_alive()
