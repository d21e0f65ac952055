"""Check what is inside the built sdist and wheel: `package_check.py DIRECTORY`."""

import sys
import tarfile
import zipfile
from pathlib import Path

WHEEL_HAS = ("endpoint/py.typed", "endpoint/cli/main.py", "endpoint/cli/qns.py")
SDIST_HAS = (*WHEEL_HAS, "pyproject.toml", "LICENSE", "README.md")
# Nothing of these may be imported from an installation.
WHEEL_LACKS = ("tests/", "bench/", "examples/")


def complaints(kind: str, names: set[str], wanted: tuple[str, ...], unwanted: tuple[str, ...]) -> list[str]:
    """One line for everything that is missing or does not belong there."""
    missing = [f"{kind}: {name} is missing" for name in wanted if name not in names]
    surplus = [f"{kind}: {name} does not belong there" for name in sorted(names) if name.startswith(unwanted)]
    return missing + surplus


def main() -> int:
    """Print every complaint; exit status 1 if there is one."""
    directory = Path(sys.argv[1])
    (wheel,) = directory.glob("*.whl")
    (sdist,) = directory.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as tar:
        in_sdist = {name.partition("/")[2] for name in tar.getnames()}
    found = complaints(wheel.name, in_wheel, WHEEL_HAS, WHEEL_LACKS)
    found += complaints(sdist.name, in_sdist, SDIST_HAS, ())
    print("\n".join(found) or f"{wheel.name}: {len(in_wheel)} files, {sdist.name}: {len(in_sdist)} files")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
