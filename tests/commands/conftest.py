"""Commands as they are typed."""

from collections.abc import Callable

import pytest

from torchatlas import cli


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Run a command; what it has printed, and said beside."""

    def run(*arguments: str, status: int = 0) -> tuple[str, str]:
        monkeypatch.setattr("sys.argv", ["torchatlas", *arguments])
        capsys.readouterr()
        if status:
            with pytest.raises(SystemExit) as caught:
                cli.main()
            assert caught.value.code == status
        else:
            cli.main()
        printed = capsys.readouterr()
        return printed.out, printed.err

    return run
