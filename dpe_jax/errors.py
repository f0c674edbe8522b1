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


class OptimumError(RuntimeError):
    """The reference optimum was not reached to the gradient norm that is promised."""
