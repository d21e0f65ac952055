"""What every benchmark needs before it starts."""

import contextlib
import datetime as dt
import tempfile
from collections.abc import Iterator
from pathlib import Path

from endpoint.testing.certificates import make_chain


@contextlib.contextmanager
def certificate_directory() -> Iterator[Path]:
    """A temporary directory with `ca.pem`, `cert.pem` and `priv.key`."""
    with tempfile.TemporaryDirectory(prefix="interquic-bench-") as name:
        directory = Path(name)
        make_chain(dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)).write(directory)
        yield directory
