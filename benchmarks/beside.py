"""What a benchmark gave with an earlier commit, as a column beside what it gives now.

``python benchmarks/beside.py BEFORE.md AFTER.md COMMIT``: both files are what the same script wrote, on one machine. In
the second each table gets a column "before", behind the column that it is of: the one in front of "aim", or else the
last. Rows are told by their first cell; what was not measured before stays empty. What a column "before" and the line
below the tables said until then is dropped.
"""
import argparse
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

BEFORE = "Before: commit"
Cells = list[str]


def parts_of(text: str) -> Iterator[list[str] | list[Cells]]:
    """Runs of lines, and between them tables: rows of cells, the head first."""
    for is_table, lines in groupby(text.splitlines(), lambda line: line.startswith("|")):
        if not is_table:
            yield [line for line in lines if not line.startswith(BEFORE)]
            continue
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        yield [[cell for cell, head in zip(row, rows[0]) if head != "before"] for row in rows]


def compared(table: list[Cells]) -> int:
    """The number of the column that is compared."""
    return table[0].index("aim") - 1 if "aim" in table[0] else len(table[0]) - 1


def beside(before: str, after: str, commit: str) -> str:
    """The later text, with the earlier one's figures."""
    known = {(table[0][0], row[0]): row[compared(table)]
             for table in parts_of(before) if isinstance(table[0], list) for row in table[2:]}
    lines: list[str] = []
    for part in parts_of(after):
        for number, row in enumerate(part):
            if isinstance(row, list):
                told = ["before", "---:"][number] if number < 2 else known.get((part[0][0], row[0]), "")
                at = compared(part) + 1
                row = f"| {' | '.join([*row[:at], told, *row[at:]])} |".replace("|  |", "| |")
            lines.append(row)
    return "\n".join(lines).rstrip() + f"\n\n{BEFORE} {commit}, the same script on the same machine.\n"


def main() -> None:
    """Write the later file anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("commit")
    args = parser.parse_args()
    args.after.write_text(beside(args.before.read_text(), args.after.read_text(), args.commit))


if __name__ == "__main__":
    main()
