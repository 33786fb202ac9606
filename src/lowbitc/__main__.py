"""The command line: ``lowbitc`` and ``python -m lowbitc``."""

from __future__ import annotations


def main() -> None:
    """Run the command line and leave with its exit code."""
    from lowbitc.cli.main import lowbitc  # noqa: PLC0415 - importing the package stays free

    lowbitc(prog_name="lowbitc")


if __name__ == "__main__":
    main()
