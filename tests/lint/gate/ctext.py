"""Reading C as text: code without comments, includes, functions."""

import re

_SKIPPED = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""",
    re.DOTALL | re.VERBOSE,
)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)
# As clang-format lays it out: the name of the function starts its line, its body is
# between two braces at the start of theirs.
_NAME = re.compile(r"^([A-Za-z_]\w*)\(")


def code(text):
    """TEXT with comments and the contents of literals blanked, line by line."""

    def blank(match):
        found = match.group()
        if found[0] == '"':
            # The name in an #include is code.
            line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
            return found if re.match(r"\s*#\s*include\s*$", line) else '""'
        return "''" if found[0] == "'" else re.sub(r"[^\n]+", " ", found)

    return _SKIPPED.sub(blank, text)


def includes(text):
    """[(line number, "<" or '"', what)] of TEXT."""
    stripped = code(text)
    return [
        (stripped.count("\n", 0, match.start()) + 1, match.group(1), match.group(2))
        for match in _INCLUDE.finditer(stripped)
    ]


def functions(text):
    """[(name, first line, number of lines)] of the definitions in TEXT."""
    found = []
    name, start, inside = None, 0, False
    for number, line in enumerate(code(text).split("\n"), 1):
        if inside:
            if line.startswith("}"):
                found.append((name, start, number - start + 1))
                name, inside = None, False
            continue
        match = _NAME.match(line)
        if match:
            name, start = match.group(1), number
        elif line.startswith("{") and name is not None:
            inside = True
        elif line.rstrip().endswith(";"):
            name = None
    return found
