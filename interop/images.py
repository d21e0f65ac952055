"""Container images as peers: one named on the command line, or those of the public runner's list."""

import json
from pathlib import Path
from typing import Final

from endpoint.cli.errors import CommandError, explain_file
from endpoint.cli.testcases import Role
from interop.registry import TESTCASES, Install, Peer, RoleSpec, is_name

_ROLES: Final = {"both": tuple(Role), "client": (Role.CLIENT,), "server": (Role.SERVER,)}


def image_peer(name: str, image: str, url: str = "", roles: tuple[Role, ...] = tuple(Role)) -> Peer:
    """A peer that is an image; what it does not support it says by its exit status."""
    here = Path.cwd()
    return Peer(
        name=name,
        language="?",
        version=image,
        url=url,
        roles=dict.fromkeys(roles, RoleSpec(start=(), testcases=TESTCASES)),
        install=Install(),
        source=here,
        home=here,
        image=image,
    )


def load_images(file: Path) -> list[Peer]:
    """Those of a file as the public runner's `implementations_quic.json`. Raises CommandError."""
    try:
        table = json.loads(file.read_text())
    except OSError as error:
        raise explain_file("images", str(file), error) from error
    except ValueError as error:
        raise CommandError(f"{file}: {error}") from error
    if not isinstance(table, dict):
        raise CommandError(f"{file}: an object is needed: names, each with image, url and role")
    return [_read(file, name, entry) for name, entry in table.items()]


def _read(file: Path, name: str, entry: object) -> Peer:
    if not is_name(name):
        raise CommandError(f"{file}: {name!r} is no name: letters, digits, - and _ are")
    image = entry.get("image") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(image, str) or not image:
        raise CommandError(f"{file}: {name}: an image is needed")
    roles = _ROLES.get(str(entry.get("role")))
    if roles is None:
        raise CommandError(f"{file}: {name}: the role is one of {', '.join(_ROLES)}")
    return image_peer(name, image, str(entry.get("url", "")), roles)
