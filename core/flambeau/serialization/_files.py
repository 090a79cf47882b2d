"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator


@contextlib.contextmanager
def whole_file(path: str) -> Iterator[str]:
    """Give a temporary path beside ``path``; what was written there takes the place of ``path`` when the block ends.

    When the block raises, the temporary file goes and an old file at ``path`` stays as it was. The temporary path has
    the same extension. Pipes and devices, which cannot be replaced, are given as they are.

    Raises:
        RuntimeError: when the folder does not exist.
    """
    target = os.path.realpath(path)
    before = os.stat(target) if os.path.exists(target) else None
    if before is not None and not stat.S_ISREG(before.st_mode):
        yield target
        return
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise RuntimeError(f"save: Parent directory {folder} does not exist.")
    temporary = os.path.join(folder, f".flambeau-{secrets.token_hex(8)}{os.path.splitext(target)[1]}")
    # Not tempfile: its files are readable by their owner only, whatever the umask says.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        if before is not None:
            os.chmod(temporary, stat.S_IMODE(before.st_mode))
        yield temporary
        _flush(temporary, os.O_RDWR)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if os.name == "posix":
        # The file is there; whether its name outlives a power cut is up to a file system that may not support this.
        with contextlib.suppress(OSError):
            _flush(folder, os.O_RDONLY)


def _flush(path: str, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
