"""What a test case gives its endpoints: files with random content, and certificates."""

import datetime as dt
import random
import string
from pathlib import Path
from typing import Final

from endpoint.testing.certificates import make_chain
from interop.testcases import TestCase

_WORDS: Final = ("amber", "basalt", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty")
_LONG_NAMES: Final = 20


def make_files(case: TestCase, source: random.Random) -> dict[str, bytes]:
    """Random content under names as the runner makes them."""
    files: dict[str, bytes] = {}
    while len(files) < len(case.sizes):
        if case.name_length:
            name = "".join(source.choices(string.ascii_lowercase, k=case.name_length))
        else:
            name = "-".join((*source.choices(_WORDS, k=3), str(len(files))))
        files[name] = source.randbytes(case.sizes[len(files)])
    return files


def write_files(files: dict[str, bytes], directory: Path) -> None:
    """Into a new folder."""
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)


def write_certificates(case: TestCase, directory: Path) -> None:
    """New ones, into a new folder: ca.pem, cert.pem, priv.key."""
    directory.mkdir(parents=True)
    chain = make_chain(
        dt.datetime.now(dt.UTC) - dt.timedelta(hours=1),
        length=case.certificates,
        padding_names=_LONG_NAMES if case.certificates > 1 else 0,
    )
    chain.write(directory)
