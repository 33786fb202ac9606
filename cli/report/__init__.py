"""The report page: one HTML file that holds all that a command measured."""
