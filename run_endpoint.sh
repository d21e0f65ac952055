#!/bin/bash
# Entry point of the interop image. What a test case means is data in endpoint/cli/testcases.py;
# nothing here depends on it. INTERQUIC_ROOT and INTERQUIC_PYTHON let the tests run this file
# outside a container.
set -eu

root="${INTERQUIC_ROOT:-}"
python="${INTERQUIC_PYTHON:-/opt/interquic/bin/python}"

# An unsupported TESTCASE ends here with status 127, before anything else can fail.
"$python" -P -m endpoint.cli.testcases

# The base image's script points the routes at the simulator. A failure of ours must not look like
# "unsupported", whatever the status of the script was.
"$root/setup.sh" || exit 1

if [ "${ROLE:-}" = client ]; then
    "$root/wait-for-it.sh" sim:57832 -s -t 30 || exit 1
fi

# exec: the program has to be process 1 to hear SIGTERM.
exec "$python" -P -m endpoint.cli.qns
