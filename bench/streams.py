"""Small streams on one connection, per second.

python -m bench.streams [--count N] [--http3]
"""

import argparse

from bench.small import requests, streams


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--http3", action="store_true", help="requests for 1 KiB over HTTP/3 instead")
    arguments = parser.parse_args()
    if arguments.http3:
        print(requests(count=arguments.count, size=1024, rounds=arguments.rounds).markdown())
        return
    print(streams(count=arguments.count, size=32, rounds=arguments.rounds).markdown())


if __name__ == "__main__":
    main()
