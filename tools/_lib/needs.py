"""Print, one a line, what pyproject.toml asks for: needs.py PYPROJECT [GROUP...].

Runs in the environment that is being set up, since the machine's own Python may be
too old to read TOML.
"""

import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)

requirements = [
    *project["build-system"]["requires"],
    *project["project"].get("dependencies", []),
]
for group in sys.argv[2:]:
    requirements += project["dependency-groups"][group]
print("\n".join(requirements))
