"""The errors that the package raises itself."""


class InputError(ValueError):
    """Bad input, said in one line: the argument, its value and what is accepted."""

    def __init__(self, argument: str, value: object, accepted: str) -> None:
        shown = " ".join(repr(value).split())
        if len(shown) > 80:
            shown = shown[:77] + "..."
        super().__init__(f"{argument} = {shown}: expected {accepted}")
        self.argument = argument
        self.value = value
        self.accepted = accepted

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, object, str]]:
        # Python would call the class with the one message when the error comes from a worker.
        return type(self), (self.argument, self.value, self.accepted)


class TogetherError(InputError):
    """An option beside one that it does not go with, or without one that it needs."""

    def __init__(self, argument: str, value: object, accepted: str) -> None:
        super().__init__(argument, value, accepted)
        # What is wrong is not the value: a flag has none to show.
        self.args = (f"{argument}: {accepted}",)


class InterruptedRunError(KeyboardInterrupt):
    """A simulation was interrupted; says what is kept of it, and where."""


class ReaderLeftError(Exception):
    """Nobody reads any more what is said of the work."""


class OptimumError(RuntimeError):
    """The reference optimum was not reached to the gradient norm that is promised."""


class WorkerDiedError(RuntimeError):
    """A worker, or the cluster that it belongs to, was lost before its task was done."""
