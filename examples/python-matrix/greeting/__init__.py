"""Says hello."""


def greeting(name: str) -> str:
    """The greeting of somebody."""
    return f"Hello, {name}!"
