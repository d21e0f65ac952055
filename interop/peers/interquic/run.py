"""Our endpoint as a peer: the program of the interop image, given the folders that the variables name.

The image's program looks for `/www`, `/downloads` and `/certs` below INTERQUIC_ROOT: a temporary folder
of links. What the image does not have is in `interop/roles.py`.
"""

import os
import sys
import tempfile
from pathlib import Path

from endpoint.cli import qns
from endpoint.cli.testcases import UNSUPPORTED, find_case
from interop.roles import find_role

FOLDERS = {"WWW": "www", "DOWNLOADS": "downloads", "CERTS": "certs"}
OPTIONS = {"PORT": "--port", "ALPN": "--alpn"}


def main() -> int:
    """Run the test case that the variables ask for; its exit status."""
    role, name = os.environ.get("ROLE", ""), os.environ.get("TESTCASE", "")
    played = find_role(name, role)
    if played is None and find_case(name, role) is None:
        return UNSUPPORTED
    variables = dict(os.environ)
    parameters = f"{role.upper()}_PARAMS"
    for variable, option in OPTIONS.items():
        if variable in variables:
            variables[parameters] = f"{option}={variables[variable]} {variables.get(parameters, '')}"
    with tempfile.TemporaryDirectory(prefix="interquic-") as root:
        for variable, name in FOLDERS.items():
            if variable in variables:
                (Path(root) / name).symlink_to(Path(variables[variable]).resolve())
        variables["INTERQUIC_ROOT"] = root
        if played is None:
            return qns.main(variables)
        if not played.is_traced:
            variables["QLOGDIR"] = ""
        with played.behaviour():
            return qns.run(played.case, variables)


if __name__ == "__main__":
    sys.exit(main())
