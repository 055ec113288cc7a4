"""Optional libraries are imported when they are first needed, and an absent one is named with its extra.

Which library belongs to which extra is decided in pyproject.toml; this module only words the error.
"""

from importlib import import_module
from types import ModuleType


def need(module: str, *, extra: str, for_: str) -> ModuleType:
    """Import an optional module.

    module: its dotted name, as in an import statement (`"redis.asyncio"`).
    extra: the extra of langchain-cluster that brings it.
    for_: what the user asked for, in their words; it opens the message.

    Raises: ImportError with the command to run, when the module is not installed. A module that is
    installed and fails while it is imported raises its own error: installing it again would not help.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        distribution = module.partition(".")[0]
        if missing.name is None or missing.name.partition(".")[0] != distribution:
            raise
        raise ImportError(
            f'{for_} needs {module}, which is not installed: pip install "langchain-cluster[{extra}]"',
            name=module,
        ) from missing
