"""Memory of a server per idle connection.

python -m bench.memory [--count N]
"""

import argparse

from bench.small import memory


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000)
    arguments = parser.parse_args()
    print(memory(count=arguments.count).markdown())


if __name__ == "__main__":
    main()
