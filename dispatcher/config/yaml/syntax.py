"""Translate syntax errors of the YAML parser into remedies."""

import yaml

from dispatcher.config.section import Problem, SourceLocation
from dispatcher.config.yaml.interpolation import shorten


def syntax_problem(error: yaml.YAMLError, text: str, name: str) -> Problem:
    """Return a sentence with a remedy for an error of the YAML parser.

    Args:
        error: As raised.
        text: The whole document.
        name: Of the document in messages.
    """
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        # Only the reader has no mark: a character that YAML does not allow at all.
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1
        return Problem(
            SourceLocation(line, f"{name}:{line}"),
            "there is a control character that YAML does not allow; is this a text file?",
        )
    problem = error.problem or ""
    unclosed = "end of stream" in problem or "stream end" in problem
    is_key = "could not find expected ':'" in problem
    mark = (error.context_mark if unclosed or is_key else None) or error.problem_mark
    # The end of the text is on no line: use the last line that is not blank.
    lines = [*text.splitlines(), "", ""]
    line = min(mark.line + 1, text.rstrip().count("\n") + 1)
    written, above = lines[line - 1], lines[line - 2] if line > 1 else ""
    if "\\t" in problem or written.startswith("\t"):
        remedy = "a tab is used for indentation; use spaces"
    elif "single document" in (error.context or ""):
        remedy = "there is a second document (---); a configuration is one document"
    elif "${" in written:
        remedy = 'put the value with ${...} in quotes here, as in "${NAME}"'
    elif unclosed:
        remedy = "a quote or bracket is opened here and never closed"
    elif "mapping values are not allowed" in problem and ":" not in above:
        line -= 1
        remedy = f'"{shorten(above)}" is not followed by a colon; write key: value'
    elif "mapping values are not allowed" in problem:
        remedy = (
            "a colon stands where none may be; put a value with a colon and a blank in quotes, "
            "and begin the keys of a section in the same column"
        )
    elif is_key:
        remedy = "a key is not followed by a colon and a blank; write key: value"
    elif "sequence entries are not allowed" in problem:
        remedy = 'put a dash that is a value in quotes ("-"), and begin a list on its own line'
    elif "cannot start any token" in problem:
        remedy = f"put the value in quotes here; YAML does not let it begin like this ({problem})"
    else:
        remedy = f"it is not valid YAML: {problem}"
    return Problem(SourceLocation(line, f"{name}:{line}"), remedy)
