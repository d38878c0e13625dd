"""What a benchmark gave with an earlier commit, as a column beside what it gives now.

``python benchmarks/beside.py BEFORE.md AFTER.md COMMIT``: both files are what the same script wrote, on one machine. In
the second each table gets a column "before" behind its figures, those in front of "aim" or the last ones. Rows are told
by their first cell; what was not measured before stays empty.
"""
import argparse
from collections.abc import Iterator
from pathlib import Path

Cells = list[str]


def cells_of(line: str) -> Cells:
    """Those of a line of a Markdown table."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def blocks_of(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Runs of lines, and whether they are a table."""
    run: list[str] = []
    for line in text.splitlines():
        if run and line.startswith("|") != run[0].startswith("|"):
            yield run[0].startswith("|"), run
            run = []
        run.append(line)
    if run:
        yield run[0].startswith("|"), run


def figures(table: list[str]) -> int:
    """The column of a table that is compared."""
    head = cells_of(table[0])
    return head.index("aim") - 1 if "aim" in head else len(head) - 1


def beside(before: str, after: str, commit: str) -> str:
    """The later text, with the earlier one's figures."""
    known = {(cells_of(table[0])[0], cells_of(line)[0]): cells_of(line)[figures(table)]
             for is_table, table in blocks_of(before) if is_table for line in table[2:]}
    lines: list[str] = []
    for is_table, run in blocks_of(after):
        for number, line in enumerate(run):
            if is_table:
                cells, name = cells_of(line), cells_of(run[0])[0]
                cells.insert(figures(run) + 1, ["before", "---:"][number] if number < 2 else known.get(
                    (name, cells[0]), ""))
                line = f"| {' | '.join(cells)} |"
            lines.append(line.replace("|  |", "| |") if is_table else line)
    return "\n".join([*lines, "", f"Before: commit {commit}, the same script on the same machine.", ""])


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
