"""Views of a gate's verdict: text, JSON, JUnit XML, SARIF, Markdown, GitHub's commands."""
