"""Sequential handshakes per second of each Python stack.

python -m bench.handshakes [--count N]
"""

import argparse

from bench.small import handshakes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(handshakes(count=arguments.count, rounds=arguments.rounds).markdown())


if __name__ == "__main__":
    main()
