"""Interrupts that wait: Ctrl-C and SIGTERM while what is finished is still being written."""

import contextlib
import signal
import threading
import types
from collections.abc import Iterator


@contextlib.contextmanager
def noted(*, patient: bool = False) -> Iterator[threading.Event]:
    """Note an interrupt instead of raising it; a second one is raised, unless one is `patient`.

    Only in the main thread, where Python handles signals, and only what would have raised a
    `KeyboardInterrupt`. Whoever asks for this has to look at the event, and to end.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, frame: types.FrameType | None) -> None:
        if asked.is_set() and not patient:
            raise KeyboardInterrupt
        asked.set()

    # Another handler, or none (as in a script's background), is somebody's choice.
    before = {
        number: signal.signal(number, note)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is signal.default_int_handler
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Let interrupts, however many, wait for the end of what takes no time."""
    with noted(patient=True) as asked:
        yield
    if asked.is_set():
        raise KeyboardInterrupt
