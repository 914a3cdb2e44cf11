"""What object files define and need, as nm tells it."""

from dataclasses import dataclass

from gate import tools, tree

# .data.rel.ro and .rodata are written by nobody once the loader is done.
MUTABLE = (".bss", ".data", ".tbss", ".tdata", ".tm_clone", "*COM*", "COMMON")
READ_ONLY = (".data.rel.ro",)


@dataclass
class Symbol:
    name: str
    kind: str  # the letter of nm
    section: str

    @property
    def is_external(self):
        return self.kind.isupper() and self.kind != "U"

    @property
    def is_variable(self):
        return self.section.startswith(MUTABLE) and not self.section.startswith(
            READ_ONLY
        )


def of(path, *options):
    """The symbols of an object file or a shared object."""
    nm = tools.system("nm", "it comes with the compiler (binutils)")
    output = tools.accept([nm, "--format=sysv", *options, path])
    symbols = []
    for line in output.splitlines():
        columns = [column.strip() for column in line.split("|")]
        if len(columns) == 7 and columns[0] != "Name":
            name, _, kind, _, _, _, section = columns
            symbols.append(Symbol(name, kind, section))
    return tree.some(symbols, f"symbols in {path}")


def variables(path):
    """The names of the mutable variables in an object file, static ones as well."""
    names = set()
    for symbol in of(path):
        # Sections are symbols too; a static of a function ends in a number.
        if symbol.is_variable and not symbol.name.startswith("."):
            base, _, number = symbol.name.rpartition(".")
            names.add(base if number.isdigit() else symbol.name)
    return names
