"""The search for good values, with tiny runs."""

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from optuna.pruners import MedianPruner
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._storage import JournalOperation
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from torchatlas import cli
from torchatlas.commands.sweep import Report
from torchatlas.errors import UserError

SMALL = (
    "trainer=cpu", "model.widths=[8]", "trainer.max_epochs=2", "trainer.limit_train_batches=3", "callbacks=default",
    "callbacks.threads.number=1", "callbacks.checkpoint.every=1ep",
)  # fmt: skip
WORDS = ["trials=3", "pruner=none", "optim.lr=log(1e-3,1e-1)", "optim=adamw,momentum", *SMALL]


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that nothing has interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("sweep"))
        return cli.run(["sweep", *WORDS])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def only_sweep(folder: Path) -> Path:
    (found,) = (folder / "runs" / "sweeps").iterdir()
    return found


def test_trials_are_ranked_and_the_files_agree(found: Path) -> None:
    rows = read_rows(found)
    assert sorted(row["trial"] for row in rows) == ["1", "2", "3"]
    assert [float(row["val/loss"]) for row in rows] == sorted(float(row["val/loss"]) for row in rows)
    for row in rows:
        folder = found / "trials" / row["trial"]
        metrics = read_json(folder / "metrics.json")
        assert float(row["val/loss"]) == metrics["best"]["val/loss"]
        assert (row["epochs"], row["state"]) == ("2", "done")
        assert metrics["test"] == {}, "the test set must not choose"
        config = (folder / "config.yaml").read_text()
        assert f"lr: {row['optim.lr']}" in config
        assert ("AdamW" in config) == (row["optim"] == "adamw")
        assert f"trial {row['trial']} of 3: optim.lr=" in (folder / "train.log").read_text().splitlines()[0]
        command = read_json(folder / "record.json")["starts"][0]["command"]
        assert command.startswith("torchatlas train test=false logger=none trainer=cpu")
    saved = read_json(found / "sweep.json")
    assert saved["arguments"] == WORDS[2:]
    best = saved["best"]
    assert (best["trial"], best["val/loss"]) == (int(rows[0]["trial"]), float(rows[0]["val/loss"]))
    assert best["command"].endswith(f"optim.lr={rows[0]['optim.lr']} optim={rows[0]['optim']}")


def test_dashboard_has_the_searched_keys_and_the_figure(found: Path) -> None:
    for row in read_rows(found):
        folder = found / "dashboard" / row["trial"]
        assert [path.is_file() for path in folder.iterdir()] == [True]
        events = EventAccumulator(str(folder))
        events.Reload()
        assert [event.value for event in events.Scalars("val/loss")] == [pytest.approx(float(row["val/loss"]))]
        hparams = events.summary_metadata
        content = {tag: HParamsPluginData.FromString(hparams[tag].plugin_data.content) for tag in hparams}
        experiment = content["_hparams_/experiment"].experiment
        assert [info.name for info in experiment.hparam_infos] == ["optim.lr", "optim"]
        assert experiment.hparam_infos[0].domain_interval.max_value == 0.1
        assert [info.name.tag for info in experiment.metric_infos] == ["val/loss"]
        values = content["_hparams_/session_start_info"].session_start_info.hparams
        assert {key: value.number_value or value.string_value for key, value in values.items()} == {
            "optim.lr": float(row["optim.lr"]), "optim": row["optim"],
        }  # fmt: skip


def test_more_trials_keep_the_old_ones(found: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = here / "sweep"
    shutil.copytree(found, folder)
    old = {path: path.read_bytes() for path in folder.glob("[dt]*/[123]/*") if path.is_file()}
    assert cli.run(["sweep", f"resume={folder}", "trials=4"]) == folder
    assert {path: path.read_bytes() for path in old} == old
    rows = read_rows(folder)
    assert sorted(row["trial"] for row in rows) == ["1", "2", "3", "4"]
    assert [row for row in rows if row["trial"] != "4"] == read_rows(found)
    assert read_json(folder / "sweep.json")["trials"] == 4
    said = capsys.readouterr().out
    assert "trial 4 of 4: optim.lr=" in said
    assert "importance  optim" in said
    assert "tensorboard --logdir sweep/dashboard" in said
    assert read_json(folder / "sweep.json")["best"]["command"] in said
    cli.run(["sweep", f"resume={folder}"])
    assert read_rows(folder) == rows


def test_an_interrupted_trial_goes_on_from_its_checkpoint(
    found: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report.on_validation_end

    def interrupt(self: Report, trainer: Any, pl_module: Any) -> None:
        if self.trial.number == 1 and trainer.current_epoch == 1:
            raise KeyboardInterrupt
        report(self, trainer, pl_module)

    with monkeypatch.context() as patch:
        patch.setattr(Report, "on_validation_end", interrupt)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            cli.run(["sweep", *WORDS])
    folder = only_sweep(here)
    lines = capsys.readouterr().out.replace("uv run ", "")  # it is said where the tests are started so
    assert f"go on       torchatlas sweep resume=runs/sweeps/{folder.name}\n" in lines
    assert [row["trial"] for row in read_rows(folder)] == ["1"]
    cli.run(["sweep", f"resume={folder}"])
    assert read_rows(folder) == read_rows(found)
    assert [len(read_json(folder / f"trials/{n}/record.json")["starts"]) for n in (1, 2, 3)] == [1, 2, 1]
    assert "going on from" in (folder / "trials/2/train.log").read_text()


@pytest.mark.parametrize("name", ["CREATE_STUDY", "CREATE_TRIAL", "SET_TRIAL_PARAM", "SET_TRIAL_STATE_VALUES"])
def test_a_kill_loses_no_trial(name: str, found: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program ends while the storage is written: half a line and the lock stay."""
    operation, append, dead = JournalOperation[name], JournalFileBackend.append_logs, []

    def killed(self: Any, logs: list[dict[str, Any]]) -> None:
        if dead or any(entry["op_code"] == operation for entry in logs):
            if not dead:
                path = Path(self._file_path)
                path.write_bytes(path.read_bytes() + b'{"op_co')
                path.with_name(path.name + ".lock").touch()
            dead.append(True)
            raise KeyboardInterrupt
        append(self, logs)

    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            cli.run(["sweep", *WORDS])
    folder = only_sweep(here)
    cli.run(["sweep", f"resume={folder}"])
    assert read_rows(folder) == read_rows(found)
    starts = [len(read_json(folder / f"trials/{n}/record.json")["starts"]) for n in (1, 2, 3)]
    assert starts == [2 if name == "SET_TRIAL_STATE_VALUES" else 1, 1, 1]


def test_pruned_trials_keep_their_figures(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MedianPruner, "prune", lambda *_: True)
    folder = cli.run(["sweep", "seed=1,2", *SMALL])
    rows = read_rows(folder)
    assert [(row["state"], row["epochs"]) for row in rows] == [("pruned", "1")] * 2  # two, since there are no others
    for row in rows:
        metrics = read_json(folder / "trials" / row["trial"] / "metrics.json")
        assert metrics["best"]["val/loss"] == float(row["val/loss"])
    assert "best" not in read_json(folder / "sweep.json")
    assert len(list(folder.glob("dashboard/*/*"))) == 2


def test_a_failed_trial_does_not_end_the_sweep(here: Path) -> None:
    folder = cli.run(["sweep", "optim=sgd", "optim.lr=1e30,0.1", "test=true", *SMALL])
    rows = read_rows(folder)
    assert [(row["trial"], row["state"]) for row in rows] == [("2", "done"), ("1", "failed")]
    assert "Try a lower rate" in rows[1]["error"]
    assert "trial 1 failed: the loss of step" in (folder / "trials/1/train.log").read_text()
    assert read_json(folder / "trials/2/metrics.json")["test"]["test/accuracy"] > 0


def test_when_all_trials_fail_that_is_a_mistake(here: Path) -> None:
    with pytest.raises(UserError, match="no trial has a figure; trial 2 failed: the loss of step"):
        cli.run(["sweep", "optim=sgd", "optim.lr=1e30,1e31", *SMALL])


REFUSED = {
    "nothing is searched: .* optim.lr=log": ["optim.lr=0.1"],
    "the config has no key 'optim.lrr': did you mean optim.lr": ["optim.lrr=log(1e-3,1e-1)", "model=lenet5,mlp"],
    "there is no optim 'adamv': did you mean": ["optim=sgd,adamv"],
    "sampler=tpee is unknown: did you mean tpe": ["sampler=tpee", "seed=1,2"],
    "pruner=always is unknown: it is one of median": ["pruner=always", "seed=1,2"],
    "trials=none must be": ["trials=none", "seed=1,2"],
    "model=lenet5 cannot take the batches of data=digits": ["model=mlp,lenet5", "data=digits"],
    "one process each: add trainer=cpu": ["trainer=ddp_cpu", "seed=1,2"],
    "cannot be searched: .*low > 0": ["optim.lr=log(0,1)"],
    "cannot be searched: the only tag is log": ["optim.lr=tag(lin,interval(1,2))"],
    "cannot be searched: the range is empty": ["seed=range(3,3)"],
    "seed is given twice": ["seed=1,2", "seed=3"],
    "seeds=3 has no place in a sweep": ["seeds=3", "seed=1,2"],
    "data.batch_size=0 must be": ["data.batch_size=range(0,3)"],
    "is no folder of a sweep": ["resume=nowhere"],
    "Unknown function 'between'": ["optim.lr=between(0,1)"],
}


@pytest.mark.parametrize("message", REFUSED)
def test_mistakes_are_refused_before_a_folder_is_made(message: str, here: Path) -> None:
    arguments = sys.argv[:]
    with pytest.raises(UserError, match=message) as error:
        cli.run(["sweep", *REFUSED[message]])
    assert "\n" not in str(error.value)
    assert not list(here.iterdir())
    assert sys.argv == arguments


def test_a_sweep_goes_on_as_it_began(found: Path) -> None:
    with pytest.raises(UserError, match=r"leave out optim\.lr=1 sampler=random"):
        cli.run(["sweep", f"resume={found}", "optim.lr=1", "sampler=random"])


def test_a_folder_of_somebody_else_cannot_call_anything(found: Path, here: Path) -> None:
    shutil.copy(found / "sweep.json", here)
    saved = read_json(here / "sweep.json")
    saved["arguments"].append("++model._target_=os.system")
    (here / "sweep.json").write_text(json.dumps(saved))
    with pytest.raises(UserError, match=r"would call os\.system"):
        cli.run(["sweep", f"resume={here}"])


def test_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match="pip install 'torchatlas\\[sweep\\]'"):
        cli.run(["sweep", "seed=1,2"])
