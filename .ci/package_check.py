"""Check what is inside the built sdist and wheel: `package_check.py DIRECTORY`."""

import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("endpoint", "qlog", "interop")
SDIST_HAS = ("pyproject.toml", "LICENSE", "README.md")
# Nothing of these may be imported from an installation.
WHEEL_LACKS = ("tests/", "bench/", "examples/")


def package_files() -> tuple[str, ...]:
    """Everything in the packages of this checkout: code, type marker, data."""
    return tuple(
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    )


def complaints(
    kind: str, names: set[str], wanted: tuple[str, ...], unwanted: tuple[str, ...] = ()
) -> list[str]:
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
    found = complaints(wheel.name, in_wheel, package_files(), WHEEL_LACKS)
    found += complaints(sdist.name, in_sdist, (*SDIST_HAS, *package_files()))
    print("\n".join(found) or f"{wheel.name}: {len(in_wheel)} files, {sdist.name}: {len(in_sdist)} files")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
