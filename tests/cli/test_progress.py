"""Long work shows a bar to whoever looks on, and nothing to a program."""

import io

from agentspan.cli.progress import bar, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_for_a_terminal_alone(monkeypatch, capsys):
    assert list(progress([1, 2, 3], "counting")) == [1, 2, 3]
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", screen := Terminal())
    assert list(progress([1, 2, 3], "counting")) == [1, 2, 3]
    assert "counting" in screen.getvalue()
    assert capsys.readouterr().out == ""


def test_what_is_done_at_once_has_none(monkeypatch):
    monkeypatch.setattr("sys.stderr", screen := Terminal())
    with bar(1, "counting") as step:
        step(1)
    assert screen.getvalue() == ""
