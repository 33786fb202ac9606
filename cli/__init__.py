"""The command line: click commands, one a file, and how results are shown."""
