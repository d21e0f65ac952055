"""Small streams on one connection, per second.

python -m bench.streams [--count N]
"""

import argparse

from bench.small import streams


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(streams(count=arguments.count, size=32, rounds=arguments.rounds).markdown())


if __name__ == "__main__":
    main()
