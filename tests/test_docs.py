"""What the README and docs/ say: snippets run, commands parse, numbers are those of the files that they are about."""
import ast
import doctest
import importlib
import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import pandas as pd
import pytest

from senet_viz.collecting import open_evaluation
from senet_viz.models.checkpoints import read_metadata
from senet_viz.statistics import open_statistics
from senet_viz.statistics.kernels import size_effects

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
RESULTS = ROOT / "benchmarks" / "results"
FENCE = re.compile(r"^(?P<note><!-- not run: [^\n]+ -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S)
VALUE = re.compile(r"#\s*(?P<value>\([\d, ]+\)|[\d,]+|\[.*\])\s*$")  # a shape, a number or a list behind an expression


@dataclass
class Snippet:
    """A fenced block of a page; ``runs`` unless a comment before it says why it does not."""

    page: Path
    line: int
    language: str
    code: str
    runs: bool


def snippets(page: Path, *languages: str) -> Iterator[Snippet]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        if found["language"] in languages:
            line = text.count("\n", 0, found.start("code")) + 1
            yield Snippet(page, line, found["language"], found["code"], found["note"] is None)


def arguments(snippet: Snippet) -> Iterator[list[str]]:
    """Those of each ``senet-viz`` in a shell snippet."""
    for line in snippet.code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["senet-viz"]:
            yield words[1:]
        elif words[:3] == ["python", "-m", "senet_viz"]:
            yield words[3:]


def commands(page: Path) -> list[list[str]]:
    return [words for snippet in snippets(page, "sh") for words in arguments(snippet)]


def command_line():
    return importlib.import_module("senet_viz.cli")


def names(pages: list[Path]) -> list[str]:
    return [page.relative_to(ROOT).as_posix() for page in pages]


with_snippets = [page for page in PAGES if any(snippet.runs for snippet in snippets(page, "python", "sh"))]
with_commands = [page for page in PAGES if commands(page)]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where a reader stands: photos, and folders of photos by class."""
    samples = ROOT / "assets" / "samples"
    shutil.copy(samples / "teapot.jpg", tmp_path / "photo.jpg")
    shutil.copy(samples / "ladybug.jpg", tmp_path / "other.jpg")
    for name in ("teapot", "ladybug"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        shutil.copy(samples / f"{name}.jpg", tmp_path / "photos" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- snippets


@pytest.mark.parametrize("page", with_snippets, ids=names(with_snippets))
def test_snippets(page, folder, capsys):
    """They run one after the other, as in a notebook, and give what is written behind them."""
    space: dict = {"__name__": page.stem}
    for snippet in snippets(page, "python", "sh"):
        if not snippet.runs:
            continue
        if snippet.language == "sh":
            for words in arguments(snippet):
                capsys.readouterr()
                status = command_line().main(words)
                assert status == 0, f"{shlex.join(words)} ended with {status}: {capsys.readouterr().err[-300:]}"
            continue
        lines = snippet.code.splitlines()
        for statement in ast.parse(snippet.code).body:
            place = f"{page.name}, line {snippet.line + statement.lineno - 1}"
            if isinstance(statement, ast.Expr):
                value = eval(compile(ast.Expression(statement.value), place, "eval"), space)
                if said := VALUE.search(lines[statement.end_lineno - 1]):
                    assert_says(value, said["value"], place)
            else:
                exec(compile(ast.Module([statement], []), place, "exec"), space)


def assert_says(value, said: str, place: str) -> None:
    """What is written behind an expression: the shape of what it gives (of each, if a tuple), or the value itself."""
    if said.startswith("("):
        for one in value if isinstance(value, tuple) else (value,):
            assert tuple(one.shape) == ast.literal_eval(said), place
    elif said.startswith("["):
        assert value == ast.literal_eval(said), place
    else:
        assert value == int(said.replace(",", "")), place


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_python_that_is_not_run(page):
    """It is Python at least, and imports what there is."""
    for snippet in snippets(page, "python"):
        for statement in ast.walk(ast.parse(snippet.code)):
            if isinstance(statement, ast.ImportFrom) and statement.module.startswith("senet_viz"):
                module = importlib.import_module(statement.module)
                for alias in statement.names:
                    if not hasattr(module, alias.name):
                        importlib.import_module(f"{statement.module}.{alias.name}")


@pytest.mark.parametrize("page", with_commands, ids=names(with_commands))
def test_commands_parse(page):
    """Also those that are not run: their options exist."""
    parser = command_line().parser()
    for words in commands(page):
        try:
            parser.parse_args(words)
        except SystemExit:
            pytest.fail(f"{page.name}: senet-viz {shlex.join(words)}")


# --- paths and links


def test_the_commands_are_those_of_the_command_line():
    """The table of all, and who gives JSON and CSV."""
    text = " ".join((ROOT / "docs" / "command_line.md").read_text(encoding="utf-8").splitlines())
    commands = command_line().parser()._subparsers._group_actions[0].choices
    assert set(re.findall(r"\| `(\w+)` \| (?!what)", text.partition("## Models")[0])) == set(commands)

    def taking(*options: str) -> set[str]:
        return {name for name, command in commands.items() if {*options} <= command._option_string_actions.keys()}

    said = re.search(r"For programs, (.*?) take `--json`.*?; (.*?) write their rows as CSV", text)
    assert set(re.findall(r"`(\w+)`", said[1])) == taking("--json")
    assert set(re.findall(r"`(\w+)`", said[2])) == taking("--json", "--out")


@pytest.mark.parametrize("name", [
    "data.windows:window", "experiments.edit_text:mixture", "gates.blocks:find_blocks", "gates.hooks:part_and_call",
    "layers.selective_kernel:SelectiveKernel", "layers.squeeze_excite:SqueezeExcite", "models.model:Model.window",
    "reports.text:ends", "reports.text:listed", "reports.text:number", "reports.text:shortened",
    "statistics.paired:paired_interval"])
def test_examples_in_docstrings(name):
    """Those that stand by themselves."""
    module, _, where = name.partition(":")
    module = importlib.import_module(f"senet_viz.{module}")
    known = {"senet_viz": importlib.import_module("senet_viz"), "torch": importlib.import_module("torch"),
             "load": importlib.import_module("senet_viz").load,
             "create_transform": importlib.import_module("timm.data").create_transform}
    found = doctest.DocTestFinder(recurse=False).find(attrgetter(where)(module), globs=vars(module) | known)
    assert sum(len(test.examples) for test in found) > 0
    assert [doctest.DocTestRunner().run(test).failed for test in found] == [0]


WRITTEN = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "assets/README.md", "benchmarks/README.md"))]


def anchors(page: Path) -> set[str]:
    """What links to the headings of a page end in, as GitHub and MkDocs make it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", WRITTEN, ids=names(WRITTEN))
def test_paths(page):
    """Files of the repository that a page names are there, and so are the pages and headings that it links."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:senet_viz|pages|assets|benchmarks|docs|examples|tests|scripts)/[^`\s*…]*)`", text):
        assert (ROOT / name).exists(), name
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


# --- numbers


def points(value: float) -> str:
    text = f"{100 * value:+.1f}".replace("-", "−")
    return text[1:] if text[1:] == "0.0" else text


def said(edit: str) -> str:
    """A row's edit in words, with how it is written."""
    where, _, value = edit.partition("=")
    what = {"1": "off (gates at 1)", "mean": "mean gates", "rank 1": "mean and the first direction",
            "rank 2": "mean and two directions", "rank 4": "mean and four directions",
            "shuffle images": "another picture's gates", "shuffle class": "another's of the same class",
            "shuffle classes": "gates of another class", "uniform": "both alike",
            }.get(value, f"{value.replace('x', '×')} alone")
    return f"{'all' if where == '*' else where}: {what}"


def evaluation(name: str) -> str:
    """The table of ``docs/embedded_models.md`` for one network: a row a stage and edit; ranks of all blocks alone."""
    table = open_evaluation(ROOT / "assets" / "evaluation" / name)
    lines = [f"| `demo/{name}` | top-1 | change | top-5 | change |", "| --- | ---: | ---: | ---: | ---: |"]
    for row in table.itertuples():
        if row.edit == "unedited":
            lines.append(f"| as trained | {row.top1:.1%} |  | {row.top5:.1%} |  |")
        elif row.edit.startswith("*") or (row.edit.startswith("stage") and "=rank" not in row.edit
                                          and "=shuffle class" not in row.edit):
            changes = [f"{points(value)} ({points(low)} to {points(high)})" for value, low, high in (
                (row.difference, row.low, row.high), (row.difference5, row.low5, row.high5))]
            lines.append(f"| {said(row.edit)} | {row.top1:.1%} | {changes[0]} | {row.top5:.1%} | {changes[1]} |")
    return "\n".join(lines).replace("%", " %")


EVALUATIONS = sorted(path.name for path in (ROOT / "assets" / "evaluation").iterdir())
EVALUATED = [name for name in EVALUATIONS if not name.endswith("_channels")]  # those are of single channels


@pytest.mark.parametrize("name", EVALUATED)
def test_what_gates_are_worth(name):
    """The whole table, to be copied from here where it is out of date."""
    assert evaluation(name) in (ROOT / "docs" / "embedded_models.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", EVALUATED)
def test_with_attention_and_without(name):
    """As the cards have it, which ``senet-viz card`` wrote."""
    card = (ROOT / "assets" / "models" / f"{name}.md").read_text(encoding="utf-8")
    found = re.search(r"\| Accuracy \| top-1 ([\d.]+)%.*\| Without attention \| top-1 ([\d.]+)%[^|]* ([-+][\d.]+) "
                      r"points of top-1 \(([-+][\d.]+) to ([-+][\d.]+) over", card, re.S)
    with_it, without, *change = (number.replace("-", "−") for number in found.groups())
    row = f"| `demo/{name}` | {with_it} % | {without} % | {{}} ({{}} to {{}}) |".format(*change)
    assert row in (ROOT / "docs" / "embedded_models.md").read_text(encoding="utf-8")
    assert float(found[4]) < 0 < float(found[5])  # "both intervals hold 0"


def test_what_is_said_of_the_evaluations():
    text = " ".join((ROOT / "docs" / "embedded_models.md").read_text(encoding="utf-8").split())
    se, sk = (open_evaluation(ROOT / "assets" / "evaluation" / name).set_index("edit") for name in EVALUATED)

    def change(table, edit: str) -> str:
        return points(table["difference"][edit])

    def interval(table, edit: str) -> str:
        return f"{change(table, edit)} points ({points(table['low'][edit])} to {points(table['high'][edit])})"

    for sentence in (
            f"top-1 changes by {interval(se, '*=mean')}",
            f"it changes by {change(se, '*=rank 1')} points, with two by {change(se, '*=rank 2')}, with four by "
            f"{change(se, '*=rank 4')}",
            f"top-1 changes by {interval(se, 'stage 5=mean')} there, by {change(se, 'stage 2=mean')}, "
            f"{change(se, 'stage 3=mean')} and {change(se, 'stage 4=mean')} in stages 2, 3 and 4",
            f"raise top-1 by {100 * se['difference']['stage 5=shuffle class']:.1f} points",
            f"costs {-100 * se['difference5']['stage 5=1']:.1f} points of top-5",
            f"with mean weights in all units top-1 changes by {interval(sk, '*=mean')}, in stage 5 alone by "
            f"{interval(sk, 'stage 5=mean')}",
            f"both alike in all units change it by {change(sk, '*=uniform')} points",
            f"with the mean and the first one top-1 changes by {change(sk, '*=rank 1')} points, with two by "
            f"{change(sk, '*=rank 2')}, with four by {change(sk, '*=rank 4')}"):
        assert sentence in text, sentence
    for stage, better in ((2, False), (3, False), (5, True)):  # by intervals that do not meet
        own, other = (sk.loc[f"stage {stage}=shuffle {what}"] for what in ("class", "classes"))
        assert (own["low"] > other["high"]) == better


def test_effects_of_size():
    """README and ``docs/kernels.md`` say that the embedded network does not show the paper's."""
    text = " ".join((ROOT / "docs" / "kernels.md").read_text(encoding="utf-8").split())
    stats = open_statistics(ROOT / "assets" / "statistics" / "sknet50_slim")
    at = {zoom: size_effects(stats, zoom=zoom) for zoom in (1.5, 2)}
    assert all(len(effects) == 16 and not effects["beyond"].any() for effects in at.values())
    assert f"which change by up to {at[1.5][['random_low', 'random_high']].abs().max(axis=None):.4f} at 1.5×" in text


@pytest.mark.parametrize("page", ["README.md", "docs/embedded_models.md"])
def test_embedded_models(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    catalog = pd.read_csv(ROOT / "senet_viz" / "models" / "catalog.csv").set_index("name")
    for name in EVALUATED:
        accuracy = read_metadata(ROOT / "assets" / "models" / f"{name}.safetensors")["accuracy"]
        row = next(line for line in text.splitlines() if line.startswith(f"| `demo/{name}` |"))  # of the first table
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert f"{catalog['parameters'][f'demo/{name}']:,}" in cells
        assert cells[-2:] == [f"{100 * accuracy[top]:.1f} %" for top in ("top1", "top5")]


def test_coverage():
    """Each group's row, and what no group has."""
    text = (ROOT / "docs" / "finding_gates.md").read_text(encoding="utf-8")
    shown = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()
             if line.startswith(("| timm", "| torchvision", "| transformers"))]
    rows = pd.read_csv(RESULTS / "coverage.csv")
    wanted = []
    for _, part in rows.groupby("group", sort=False):
        tried = part.dropna(subset="found")
        wanted.append([f"{len(tried)}", f"{tried['expected'].sum():,.0f}", f"{tried['found'].sum():,.0f}",
                       f"{len(part) - len(tried)}"])
        assert (tried["error"].fillna(0) == 0).all()  # to the bit
    assert [row[1:] for row in shown] == wanted
    none = rows[(rows["group"] == "timm") & (rows["found"] == 0)]["network"]
    assert ", ".join(none) in text


def test_speed():
    """Every measured ratio is in the file that its benchmark wrote."""
    text = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    told = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in text.splitlines()
            if line.startswith("| ") and line.count("|") == 4}
    cams, collect, sweep, what_if, directions = ((RESULTS / f"{name}_cpu.md").read_text(encoding="utf-8") for name in (
        "cam_speed", "collect_speed", "sweep_speed", "what_if_speed", "dimension_speed"))
    for ratio in ("sv.record / bare forward", "sv.record, embedded / bare forward, embedded",
                  "hooks by hand, embedded / bare forward, embedded", "sv.inspect / torch-cam", "Captum / sv.inspect",
                  "pytorch-grad-cam / sv.inspect"):
        assert f"| {ratio} | {told[ratio]} |" in cams

    def one(beginning: str) -> str:
        value, = (value for what, value in told.items() if what.startswith(beginning))
        return value

    def measured(source: str, beginning: str, column: int) -> str:
        line, = (line for line in source.splitlines() if line.startswith(f"| {beginning} |"))
        return line.split("|")[column].strip()

    by_hand, decoded = collect.split("| from decoded tensors")
    assert one("collect, fp32 /") == measured(by_hand, "fp32", 3)
    assert one("collect, bf16") == measured(by_hand, "bf16 compiled", 3)
    for beginning, name in (("collecting from decoded tensors", "fp32"), ("the same, compiled", "fp32 compiled"),
                            ("the same, bf16", "bf16")):
        values = [value for what, value in told.items() if what.startswith(beginning)]
        assert values[0] == measured(decoded, name, 4)
    assert one("the same, bf16 and compiled") == measured(decoded, "bf16 compiled", 4)
    for beginning, name in (("class means: fp32", "class means, fp32 and by hand, largest difference"),
                            ("class means: bf16", "class means of the embedded SE model, bf16 and fp32, largest "
                                                  "difference")):
        assert float(one(beginning)) == float(measured(decoded, name, 2))
    rounded = {what: measured(decoded, f"class means of the embedded SE model, {what} and fp32, largest difference", 2)
               for what in ("bf16", "torch.autocast", "the weights alone in bf16")}
    assert rounded["torch.autocast"] == rounded["bf16"]
    alone = re.search(r"the weights' rounding alone, .* makes (\S+)\.", text)
    assert float(alone[1]) == float(rounded["the weights alone in bf16"])
    assert f"= {one('peak memory')}" in measured(decoded, "peak memory, 20,000 pictures / 2,000", 2)
    assert one("a sweep of 21 sizes") == measured(sweep, "sweep / bare forward", 2)
    for beginning, name in (
            ("collect with the sample / without: seresnet50", "collecting: seresnet50, photos at 224×224"),
            ("collect with the sample / without: embedded", "collecting: embedded SE network, 5,000 pictures"),
            ("a training step", "a training step of 128 pictures of 32×32, every 50th measured")):
        assert one(beginning) == measured(directions, name, 4)
    assert one("each of seresnet50's 16 blocks") == measured(what_if, "blocks off / bare forward", 2)


def test_speed_on_a_gpu():
    """As the files of that machine have it."""
    text = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8").split("## On a GPU")[1]
    collect, cams, sweep = ((RESULTS / f"{name}_cuda.md").read_text(encoding="utf-8")
                            for name in ("collect_speed", "cam_speed", "sweep_speed"))
    by_hand, decoded, _ = re.findall(r"(?:^\|.*\n)+", collect, re.M)
    assert by_hand in text
    told = re.search(r"reaches (\S+) of the bare forward in fp32 \(before: (\S+)\),\s+(\S+) in bf16 and\s+(\S+) when",
                     text)
    rows = {line.split("|")[1].strip(): line.split("|") for line in decoded.splitlines()}
    ratios = [rows["fp32"][4], rows["fp32"][5], rows["bf16"][4], rows["bf16 compiled"][4]]
    assert [*map(float, told.groups())] == [*map(float, ratios)]
    ratios = re.findall(r"(\S+ / \S+) is (\d+\.\d+)", text)
    assert len(ratios) == 3 and all(f"| {name} | {told} |" in cams for name, told in ratios)
    for file, name, words in ((cams, "sv.record / bare forward", r"Recording takes (\S+) times the first"),
                              (cams, "sv.record, embedded / bare forward, embedded", r"and (\S+) times the second"),
                              (cams, "hooks by hand, embedded / bare forward, embedded", r"by hand take (\d\.\d+)"),
                              (sweep, "sweep / bare forward", r"takes (\S+) times the bare")):
        assert f"| {name} | {re.search(words, text)[1]} |" in file



def test_settings_of_the_embedded_runs():
    """The commands that made the embedded statistics and evaluations have the settings that their files tell of."""
    parser = command_line().parser()
    made = {}
    for words in commands(ROOT / "docs" / "embedded_models.md"):
        if words[0] in ("collect", "evaluate"):
            args = parser.parse_args(words)
            made[args.out] = args
    assert sorted(made) == [*(f"assets/evaluation/{name}" for name in EVALUATIONS),
                            *(f"assets/statistics/{name}" for name in EVALUATED)]
    for out, args in made.items():
        metadata = json.loads((ROOT / out / "metadata.json").read_text(encoding="utf-8"))
        settings = metadata["settings"]
        assert (args.name, args.compact, args.threads) == (metadata["model"], metadata["compact"], settings["threads"])
        assert (args.batch_size, args.shard_size, args.precision) == (
            settings["batch_size"], settings["shard_size"], settings["precision"])
        if "zooms" in settings:
            assert (args.zoom, args.around, args.controls, args.random_weights) == (
                settings["zooms"], settings["around"], settings["controls"], settings["random_weights"])
            assert args.sample == settings["sample"]


# --- the rooms


def test_architecture():
    """Every room is told of, from the top floor down, as the contract has them."""
    told = re.findall(r"^\| .*?`((?:senet_viz|pages)/[\w./]*)` \|",
                      (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), re.M)
    rooms = {path.parent.name for path in (ROOT / "senet_viz").glob("*/__init__.py")}
    assert rooms <= {place.removeprefix("senet_viz/").strip("/") for place in told}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    contract, = settings["contracts"]
    floors = {room.strip(): number for number, floor in enumerate(contract["layers"])
              for room in re.split(r"[|:]", floor)}
    order = [floors[place.strip("/").removesuffix(".py").replace("/", ".")] for place in told]
    assert order == sorted(order)


# --- the site


def test_every_page_is_in_the_site():
    """``mkdocs build --strict`` itself is run by hand, see CONTRIBUTING.md."""
    listed = re.findall(r"(\w+\.md)", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(listed) == [page.name for page in DOCS]


@pytest.mark.parametrize("marker", ["app", "tests"])
def test_one_command(marker):
    """``.ci/run`` and readers take it from there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    inside = text.split(f"<!-- {marker} -->")[1].split(f"<!-- /{marker} -->")[0].strip()
    fence, line, end = inside.splitlines()
    assert fence.startswith("```") and end == "```"
    script = line.split()[-1] if line.startswith("sh ") else line.split()[0]
    assert (ROOT / script).is_file(), line
