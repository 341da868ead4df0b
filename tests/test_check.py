"""`data check`, `data build` and `data stats` as a newcomer meets them, on the domain that the documentation shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from helpers import refused, run

from fission_grpo.data.modules import register
from fission_grpo.data.scenarios import SCENARIOS
from fission_grpo.domains import DOMAINS

PAGE = Path(__file__).parents[1] / "docs" / "own-domain.md"


@pytest.fixture
def library(tmp_path, monkeypatch):
    """The page's domain and its scenario, in one file."""
    monkeypatch.setenv("COLUMNS", "200")
    domain, scenario = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert sum(bool(line.strip()) for line in domain.splitlines()) <= 40
    path = tmp_path / "library.py"
    path.write_text(domain + "\n\n" + scenario)
    yield path
    for known in (DOMAINS, SCENARIOS):
        known.pop("library", None)


def changed(path: Path, *changes: tuple[str, str]) -> Path:
    """The file with a defect planted, under another name."""
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = path.with_name("broken.py")
    path.write_text(text)
    return path


def test_the_pages_domain_has_no_defects(library, monkeypatch, capsys):
    assert run(monkeypatch, "data", "check", library) == 0
    said = capsys.readouterr().out
    assert "library: 2 tools" in said
    assert "no defects" in said


def test_the_domain_alone_can_be_checked(library, monkeypatch, capsys):
    library.write_text(library.read_text().partition("from fission_grpo.data.scenarios")[0])
    assert run(monkeypatch, "data", "check", library) == 0
    assert "0 tasks" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('raise ToolError(f"lend: {book_id} is', 'self.state.lent["x"] = ""; raise ToolError(f"lend: {book_id} is',
         "lend: changes the state before it raises"),
        ('raise ToolError(f"find_book', 'raise KeyError(f"find_book', "find_book: raises KeyError where only"),
        ('return {"lent": book_id, "to": reader}', "return {book_id}", "lend: its result is not JSON"),
        ('return {"lent": book_id, "to": reader}', "self.state.__dict__['lent'] = {1: 2}; return 1",
         "lend: its state does not come back"),
        ('return {"lent": book_id, "to": reader}', 'self.n = getattr(self, "n", 0) + 1; return self.n',
         "lend: depends on something outside the state"),
        ('return {"lent": book_id, "to": reader}', "return random.random()", "lend: depends on something outside"),
        ('titles = rng.sample(["Dune"', 'titles = {}["x"] + rng.sample(["Dune"', "fresh: raises KeyError: 'x'"),
        ('words.sample("titles", 2)', 'words.sample("titels", 2)', "train: build: KeyError: 'titels'"),
        ('words.sample("titles", 2)', 'words.sample("titles", 3)', "build: ValueError: the validation split has 2"),
        ('{title} is yours, {reader}.', '{title} is yours, {name}.', "borrow: a sentence names 'name', which its goal"),
        ('@SCENARIO.pattern("chained")', '@SCENARIO.pattern("chained", after="x")', "borrow: it continues a pattern"),
        ('return Goal({"title": title, "id"', 'return None and Goal({"title": title, "id"', "is_it_in: no world"),
        ('return Goal({"title": title', 'return None and Goal({"title": title', "give no task of at least two turns"),
        ("rng = random.Random(seed)", "rng = random.Random()", "fresh: the same seed gives different worlds"),
        ('call("lend", book_id=key', 'call("lend", book_id=title', "borrow: the reference of"),
        ("if key in library.state.lent:\n        return None\n    steps = [[call(\"find_book\", title=title)], [",
         "steps = [[", "pattern borrow: "),
        ("[[call(\"find_book\", title=title)]], shown={key})", "[[call(\"find_book\", title=title)]] * 2, shown={key})",
         "is superfluous"),
    ],
)  # fmt: skip
def test_defects_are_named_with_file_tool_and_reason(library, monkeypatch, capsys, old, new, said):
    path = changed(library, (old, new))
    assert run(monkeypatch, "data", "check", path) == 1
    printed = capsys.readouterr().out
    assert "broken.py: " in printed
    assert said in printed


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("            title: Exact title.", "            titel: Exact.", "argument 'title' is not described"),
        ("def find_book(self, title: str)", "def find_book(self, title)", "find_book: argument 'title' has no type"),
        ('"""Look up a book\'s id.\n', '"""\n', "find_book: a tool needs a docstring"),
        ('"is_it_in": {', '"is_it_out": {', "pattern 'is_it_in' has no sentences"),
        ("import random", "import no_such_library", "No module named 'no_such_library'"),
        ("class Library(Domain):", "class Library(Domain:", "invalid syntax"),
        ("title: str)", "title: Strng)", "NameError: name 'Strng' is not defined"),
        ("import random", "raise SystemExit(0)", "SystemExit: 0"),
        ('@SCENARIO.pattern("chained")', '@SCENARIO.pattern("chainde")', "kind must be one of call, parallel"),
        ('    name = "library"', "    title = 1", "Library needs a `name`"),
        ("    State = Shelf", "    Shape = Shelf", "Library needs a `State`"),
        ('name = "library"', 'name = "banking"', "the name 'banking' is taken"),
        ("class Library(Domain):", "class Other(Domain):\n    pass\n\n\nclass Library(Domain):", "has 2 and 1"),
    ],
)  # fmt: skip
def test_a_module_that_cannot_be_used_is_refused_in_one_line(library, monkeypatch, capsys, old, new, said):
    line = refused(monkeypatch, capsys, "data", "check", changed(library, (old, new)))
    assert "broken.py: " in line
    assert said in line


def test_names_that_mean_nothing_are_refused(library, monkeypatch, capsys):
    assert "neither a Python file nor a domain; domains: smart_home" in refused(
        monkeypatch, capsys, "data", "check", "x"
    )
    assert "absent.py: no such file" in refused(monkeypatch, capsys, "data", "check", "absent.py")


def test_built_in_domains_are_checked_by_name(monkeypatch, capsys):
    monkeypatch.setattr("fission_grpo.data.check.TASKS", 90)
    assert run(monkeypatch, "data", "check", "calendar_scheduling") == 0
    assert "no defects" in capsys.readouterr().out


def test_the_pages_commands_work_from_the_folder_they_are_typed_in(library, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "data", "build", "--out", "library-data", "--module", "library.py") == 0
    assert run(monkeypatch, "data", "check", "library.py") == 0
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / "library.py"
    other.write_text(library.read_text().replace('name = "library"', 'name = "archive"'))
    assert run(monkeypatch, "data", "check", "library.py", other) == 0
    DOMAINS.pop("archive"), SCENARIOS.pop("archive")


def test_build_refuses_what_it_cannot_do_in_one_line(library, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    assert "exists" in refused(monkeypatch, capsys, "data", "build", "--out", tmp_path / "file", "--module", library)
    assert "no scenario for 'x'" in refused(
        monkeypatch, capsys, "data", "build", "--out", tmp_path / "a", "--domain", "x"
    )
    path = changed(library, ('call("lend", book_id=key', 'call("lend", book_id=title'))
    assert "is refused: lend: no book" in refused(
        monkeypatch, capsys, "data", "build", "--out", tmp_path / "b", "--module", path
    )
    assert "holds none of train.jsonl.gz" in refused(monkeypatch, capsys, "data", "stats", tmp_path)


def test_build_and_stats_for_a_domain_of_ones_own(library, tmp_path, monkeypatch, capsys):
    out = tmp_path / "data"
    assert run(monkeypatch, "data", "build", "--out", out, "--module", library) == 0
    printed = capsys.readouterr().out
    assert "trajectories executed" in printed
    assert str(out) in printed
    names = {"train.jsonl.gz", "decisions.jsonl.gz", "validation.jsonl.gz", "test.jsonl.gz", "funnel.json"}
    assert {file.name for file in out.iterdir()} == names
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    assert run(monkeypatch, "data", "build", "--out", out, "--module", library) == 0
    assert before == {file.name: file.read_bytes() for file in out.iterdir()}
    capsys.readouterr()
    assert run(monkeypatch, "data", "stats", out, "--json", "--module", library) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["tasks"]["train"]["by domain"] == {"library": 200}
    assert run(monkeypatch, "data", "stats", out, "--module", library) == 0
    assert "library" in capsys.readouterr().out


def test_registering_twice_is_the_same(library):
    assert register([str(library)]) == register([str(library)]) == ["library"]
