"""The user's own code in pipeline files: what may be named, how it is checked, and that nothing runs without trust."""

import importlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.base import clone
from typer.testing import CliRunner

from prunekit.cli import app
from prunekit.exceptions import InputError, ParameterError, PipelineFileError
from prunekit.pipeline import Experiment, dump_pipeline, load_experiment, load_pipeline, run_experiment
from prunekit.pipeline._data import load_split
from prunekit.pipeline._own_code import KINDS
from prunekit.pipeline.json_schema import experiment_schema
from prunekit.pipeline.reports import report_run

INIT = """
    from pathlib import Path
    Path(__file__).with_name("imported").touch()
"""
NETS = """
    import os
    from pathlib import Path
    from subprocess import Popen

    import torch
    from skorch.callbacks import Callback, EarlyStopping
    from torch import nn
    from torch.optim import SGD
    from torch.optim.lr_scheduler import LRScheduler

    from ownlab._hidden import Hidden


    class Tower(nn.Module):
        def __init__(self, input_shape, num_classes, width: int = 16, act=nn.ReLU, pads=(0, 0), flag: bool = False):
            super().__init__()
            assert isinstance(pads, tuple), pads
            inputs = input_shape[0] * input_shape[1] * input_shape[2]
            self.first, self.act, self.last = nn.Linear(inputs, width), act(), nn.Linear(width, num_classes)

        def forward(self, x):
            return self.last(self.act(self.first(x.flatten(1))))

        @classmethod
        def small(cls, input_shape, num_classes):
            return cls(input_shape, num_classes, width=8)

        def widen(self):
            return self


    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(64, 16), nn.Linear(16, 10)

        def forward(self, x):
            return self.last(self.first(x.flatten(1)).relu())


    class Plain(nn.Module):
        pass


    class _Secret(nn.Module):
        pass


    class Needy(nn.Module):
        def __init__(self, name):
            super().__init__()


    class Picky(nn.Module):
        def __init__(self, width: int):
            raise RuntimeError("a bad day")


    def make_tower(num_classes, input_shape, width: "int | None" = None, **more):
        return Tower(input_shape, num_classes, width or 16, **more)


    def make_nothing():
        return 3


    def count() -> int:
        raise SystemError("called")


    class FocalLoss(nn.Module):
        def __init__(self, gamma: float = 2.0, weights: list[float] | None = None):
            super().__init__()
            self.gamma = gamma

        def forward(self, logits, y):
            loss = nn.functional.cross_entropy(logits, y, reduction="none")
            return ((1 - torch.exp(-loss)) ** self.gamma * loss).mean()


    class Lion(SGD):
        def __init__(self, parameters, lr, nesterov: bool = False):
            super().__init__(parameters, lr=lr)


    class NoRate(SGD):
        def __init__(self, params):
            super().__init__(params, lr=1)


    class Halving(LRScheduler):
        def __init__(self, optimizer, every: int, last_epoch=-1):
            self.every = every
            super().__init__(optimizer, last_epoch)

        def get_lr(self):
            return [group["initial_lr"] / 2 ** (self.last_epoch // self.every) for group in self.optimizer.param_groups]


    class Counter(Callback):
        def __init__(self, step: float = 1.0, mode="all", sink=print):
            self.step, self.mode, self.sink = step, mode, sink


    class Early(EarlyStopping):
        pass


    class Stubborn(Callback):
        def __init__(self):
            self.seen = 0


    tower = nn.Linear(2, 2)
"""
DATA = """
    from pathlib import Path

    import numpy as np

    from prunekit.pipeline import Samples
    from sklearn.datasets import load_digits


    def load_shards(folder: Path = Path("x"), sample: int = 300, task="none"):
        assert task == "classification", task
        X, y = load_digits(return_X_y=True)
        return X[:sample].reshape(-1, 1, 8, 8) / 16, y[:sample]


    def with_test(num_test: int = 100):
        X, y = load_shards(task="classification")
        return Samples(X, y, num_test)


    def no_pair():
        return load_shards(task="classification")[0]


    def three():
        return 1, 2, 3


    def words():
        return np.zeros((4, 2)), np.array(["a", "b", "a", "b"])


    def ragged():
        return [[1, 2], [3]], [0, 1]


    def absent():
        raise FileNotFoundError("no shard 7")
"""
BASE = """\
name: own
imports: [ownlab.nets, ownlab.data]
data: {source: ownlab.data.load_shards}
net:
  module: ownlab.nets.Tower
  max_epochs: 1
prune: {target_reduction: 0.3, step: one_shot, finetune_epochs: 0, final_epochs: 0}
compute: {threads: 1}
outputs: {latency_batch_sizes: [1]}
"""
TRUST = ["ownlab"]


def forget():
    """Take the packages of these tests out of the modules that Python knows."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("ownlab", "otherlab", "ownscript")]:
        del sys.modules[name]


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Return a folder with a package of a user's, which says when it is imported."""
    folder = tmp_path / "site" / "ownlab"
    folder.mkdir(parents=True)
    texts = {"__init__": INIT, "nets": NETS, "data": DATA, "_hidden": "class Hidden: pass"}
    texts |= {"broken": "import math\n1 / 0", "exits": "raise SystemExit('bye')", "needy": "import not_there_at_all"}
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(folder.parent)
    importlib.invalidate_caches()
    yield folder
    forget()


def write(folder, old="", new="", text=BASE):
    """Write the file with one part replaced."""
    assert old in text
    path = folder / "own.yaml"
    path.write_text(text.replace(old, new, 1) if old else text)
    return path


def message(path, trust=TRUST, assignments=()):
    """Return what is wrong with a file, without its path."""
    with pytest.raises(PipelineFileError) as caught:
        load_experiment(path, assignments, trust)
    return str(caught.value).removeprefix(f"{path}: ")


def in_process(folder, code, *arguments):
    """Run the command in a fresh Python that does not have the folder on its path; return exit code and output."""
    command = [sys.executable, "-P", "-c", textwrap.dedent(code), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


def was_imported(lab):
    """Tell whether any code of the package ran."""
    return (lab / "imported").exists() or "ownlab" in sys.modules


# trust


UNTRUSTED = (
    "the package 'ownlab' is not trusted, so nothing was imported. Add --trust ownlab if you trust its code; it runs "
    "with your rights."
)


@pytest.mark.parametrize("trust", [(), ["ownla"], ["ownlab.net"], ["lab"], ["nets"]])
def test_nothing_is_imported_without_trust(lab, tmp_path, trust):
    more = f" Trusted so far: {trust[0]}." if trust else ""
    assert message(write(tmp_path), trust) == (
        f"2 problems.\n  line 2, imports[0]: {UNTRUSTED}{more}\n  line 2, imports[1]: {UNTRUSTED}{more}"
    )
    assert not was_imported(lab)


def test_one_untrusted_import_keeps_all_from_being_imported(lab, tmp_path):
    path = write(tmp_path, "[ownlab.nets, ownlab.data]", "[ownlab.nets, otherlab]")
    assert message(path) == (
        "line 2, imports[1]: the package 'otherlab' is not trusted, so nothing was imported. Add --trust otherlab if "
        "you trust its code; it runs with your rights. Trusted so far: ownlab."
    )
    assert not was_imported(lab)


def test_other_problems_are_told_with_the_untrusted_import(lab, tmp_path):
    path = write(tmp_path, "max_epochs: 1", "epochs: 1", BASE.replace(", ownlab.data", ""))
    told = message(path, ())
    assert told == f"2 problems.\n  line 2, imports[0]: {UNTRUSTED}\n  line 6, net.epochs: unknown key. " + (
        "Did you mean 'max_epochs'?"
    )


def test_a_module_can_be_trusted_alone(lab, tmp_path):
    load_experiment(write(tmp_path), trust=["ownlab.nets", "ownlab.data"])
    told = message(write(tmp_path), ["ownlab.nets"])
    assert told == f"line 2, imports[1]: {UNTRUSTED} Trusted so far: ownlab.nets."


def test_trust_alone_imports_nothing(lab, tmp_path):
    text = BASE.replace("imports: [ownlab.nets, ownlab.data]\n", "")
    text = text.replace("ownlab.data.load_shards", "digits").replace("ownlab.nets.Tower", "MLP")
    assert load_experiment(write(tmp_path, text=text), trust=TRUST).resolved()["imports"] == []
    assert not was_imported(lab)


@pytest.mark.parametrize("name", ["", "_x", "own lab", "ownlab/nets", "..", "own-lab", 3])
def test_trust_is_of_names(lab, tmp_path, name):
    with pytest.raises(ParameterError, match="must be a list of names of packages or modules, such as 'mylab'") as got:
        load_experiment(write(tmp_path), trust=[name])
    assert f"Got {name!r} instead." in str(got.value)


def test_trust_is_a_list(lab, tmp_path):
    with pytest.raises(ParameterError, match="Got 'ownlab' instead"):
        load_experiment(write(tmp_path), trust="ownlab")


def test_what_is_built_in_python_needs_trust_too(lab):
    content = yaml.safe_load(BASE)
    with pytest.raises(ValueError, match="untrusted"):
        Experiment.model_validate(content)
    assert not was_imported(lab)


# imports


@pytest.mark.parametrize(
    ("imports", "trust", "expected"),
    [
        ("ownlab.nets", TRUST, "line 2, imports: must be a list. Got 'ownlab.nets' instead."),
        ("[3]", TRUST, "line 2, imports[0]: must be the name of a module, such as mylab.nets, of which no part begins "
         "with '_'. Got 3 instead."),
        ("[ownlab._hidden]", TRUST, "line 2, imports[0]: must be the name of a module, such as mylab.nets, of which no "
         "part begins with '_'. Got 'ownlab._hidden' instead."),
        ("[..ownlab]", TRUST, "line 2, imports[0]: must be the name of a module, such as mylab.nets, of which no part "
         "begins with '_'. Got '..ownlab' instead."),
        ("[ownlab/nets.py]", TRUST, "line 2, imports[0]: must be the name of a module, such as mylab.nets, of which no "
         "part begins with '_'. Got 'ownlab/nets.py' instead."),
        ("[os]", (), "line 2, imports[0]: 'os' is of Python's standard library, which has nothing that a pipeline file "
         "can use. Remove it, or rename the module if it is yours."),
        ("[subprocess]", ["subprocess"], "line 2, imports[0]: 'subprocess' is of Python's standard library, which has "
         "nothing that a pipeline file can use. Remove it, or rename the module if it is yours."),
        ("[__main__]", ["ownlab"], "line 2, imports[0]: must be the name of a module, such as mylab.nets, of which no "
         "part begins with '_'. Got '__main__' instead."),
        ("[ownlab.net]", TRUST, "line 2, imports[0]: there is no module 'ownlab.net', neither installed nor in the "
         "current folder. Did you mean 'ownlab.nets'?"),
        ("[otherlab.nets]", ["otherlab"], "line 2, imports[0]: there is no module 'otherlab.nets', neither installed "
         "nor in the current folder."),
        ("[ownlab.broken]", TRUST, "line 2, imports[0]: 'ownlab.broken' cannot be imported, for it raised "
         "ZeroDivisionError: division by zero (LAB/broken.py, line 2)."),
        ("[ownlab.exits]", TRUST, "line 2, imports[0]: 'ownlab.exits' cannot be imported, for it raised SystemExit: "
         "bye (LAB/exits.py, line 1)."),
        ("[ownlab.needy]", TRUST, "line 2, imports[0]: 'ownlab.needy' cannot be imported, for it raised "
         "ModuleNotFoundError: No module named 'not_there_at_all' (LAB/needy.py, line 1)."),
    ],
)  # fmt: skip
def test_imports(lab, tmp_path, imports, trust, expected):
    text = BASE.replace("ownlab.data.load_shards", "digits").replace("ownlab.nets.Tower", "MLP")
    assert message(write(tmp_path, "[ownlab.nets, ownlab.data]", imports, text), trust).replace(str(lab), "LAB") == (
        expected
    )


def test_imports_of_included_files_are_added_and_told_there(lab, tmp_path):
    (tmp_path / "net.yaml").write_text("\nimports:\n  - ownlab.nets\nnet: {module: ownlab.nets.Tower}\n")
    text = BASE.replace("[ownlab.nets, ownlab.data]", "[ownlab.data, ownlab.nets]\ninclude: net.yaml")
    text = text.replace("  module: ownlab.nets.Tower\n", "")
    path = write(tmp_path, text=text)
    assert load_experiment(path, trust=TRUST).resolved()["imports"] == ["ownlab.nets", "ownlab.data"]
    assert message(path, ["ownlab.data"]) == (
        f"{tmp_path / 'net.yaml'}: line 3, imports[0]: {UNTRUSTED} Trusted so far: ownlab.data."
    )
    assert message(path, ["ownlab.nets"]) == f"line 2, imports[1]: {UNTRUSTED} Trusted so far: ownlab.nets."


@pytest.mark.parametrize(("above", "below"), [("ownlab.data", "[ownlab.nets]"), ("[ownlab.data]", "ownlab.nets")])
def test_a_wrong_list_is_told_also_beside_an_included_one(lab, tmp_path, above, below):
    (tmp_path / "net.yaml").write_text(f"imports: {below}\n")
    path = write(tmp_path, "[ownlab.nets, ownlab.data]", f"{above}\ninclude: net.yaml")
    assert "imports: must be a list. Got 'ownlab." in message(path)


def test_imports_of_the_command_line(lab, tmp_path):
    path = write(tmp_path, "[ownlab.nets, ownlab.data]", "[ownlab.data]")
    load_experiment(path, ["imports=[ownlab.nets]"], TRUST)
    assert message(path, (), ["imports=[otherlab]"]) == (
        f"2 problems.\n  line 2, imports[0]: {UNTRUSTED}\n  --set imports=[otherlab]: imports[1]: the package "
        "'otherlab' is not trusted, so nothing was imported. Add --trust otherlab if you trust its code; it runs with "
        "your rights."
    )


def test_installed_packages_cannot_be_shadowed(tmp_path):
    """A file beside the user stands for nothing that is installed."""
    (tmp_path / "yaml.py").write_text("raise SystemError('shadow')")
    (tmp_path / "ownscript.py").write_text("from torch import nn\nclass Net(nn.Module):\n    pass\n")
    text = BASE.replace("ownlab.data.load_shards", "digits").replace("ownlab.nets.Tower", "ownscript.Net")
    path = write(tmp_path, "[ownlab.nets, ownlab.data]", "[yaml, ownscript]", text)
    code = "from prunekit.cli import app; app()"
    done = in_process(tmp_path, code, "validate", path, "--trust", "yaml", "--trust", "ownscript")
    assert done == (0, f"{path}: valid.\n")


# names


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # where
        ("ownlab.nets.Tower", "ownlab.net.Tower", "line 5, net.module: 'ownlab.net.Tower' is below no module that the "
         "file imports. Did you mean 'ownlab.nets.Tower'?"),
        ("ownlab.nets.Tower", "torchvision.models.resnet18", "line 5, net.module: 'torchvision.models.resnet18' is "
         "below no module that the file imports. Add 'imports: [torchvision.models]' at the top of the file, and "
         "--trust torchvision if you trust its code; it runs with your rights."),
        ("ownlab.nets.Tower", "prunekit.pipeline.nets.MLP", "line 5, net.module: 'prunekit.pipeline.nets.MLP' is below "
         "no module that the file imports. Did you mean 'MLP'?"),
        ("ownlab.nets.Tower", "ownlab.nets", "line 5, net.module: 'ownlab.nets' is below no module that the file "
         "imports. Add 'imports: [ownlab]' at the top of the file, and --trust ownlab if you trust its code; it runs "
         "with your rights."),
        ("ownlab.nets.Tower", "ownlab.nets.Towr", "line 5, net.module: 'ownlab.nets' has no public module named "
         "'Towr'. Did you mean 'Tower'?"),
        ("ownlab.nets.Tower", "{name: ownlab.nets.Towr}", "line 5, net.module.name: 'ownlab.nets' has no public "
         "module named 'Towr'. Did you mean 'Tower'?"),
        ("ownlab.nets.Tower", "ownlab.nets.Tower.smal", "line 5, net.module: 'ownlab.nets.Tower' has no public module "
         "named 'smal'. Did you mean 'small'?"),
        # what escapes
        ("ownlab.nets.Tower", "ownlab.nets._Secret", "line 5, net.module: must be a public name, of which no part "
         "begins with '_' or a digit. Got 'ownlab.nets._Secret' instead."),
        ("ownlab.nets.Tower", "ownlab.nets.Tower.__init__.__globals__", "line 5, net.module: must be a public name, of "
         "which no part begins with '_' or a digit. Got 'ownlab.nets.Tower.__init__.__globals__' instead."),
        ("ownlab.nets.Tower", "ownlab.nets.os.system", "line 5, net.module: 'ownlab.nets.os' is not of a trusted "
         "package, but of os. Name something that your package defines."),
        ("ownlab.nets.Tower", "ownlab.nets.Popen", "line 5, net.module: 'ownlab.nets.Popen' is not of a trusted "
         "package, but of subprocess. Name something that your package defines."),
        ("ownlab.nets.Tower", "ownlab.nets.torch.hub.load", "line 5, net.module: 'ownlab.nets.torch' is not of a "
         "trusted package, but of torch. Add --trust torch if you trust its code; it runs with your rights."),
        ("ownlab.nets.Tower", "ownlab.nets.Tower.register_module", "line 5, net.module: "
         "'ownlab.nets.Tower.register_module' is not of a trusted package, but of torch.nn.modules.module. Add "
         "--trust torch if you trust its code; it runs with your rights."),
        ("ownlab.nets.Tower", "ownlab.nets.Tower.widen", "line 5, net.module: must be a subclass of torch.nn.Module, "
         "or a function that returns a module. 'ownlab.nets.Tower.widen' is a function instead. "
         "'ownlab.nets.Tower' has small."),
        ("ownlab.nets.Tower", "'ownlab.nets.Tower()'", "line 5, net.module: there is no module named "
         "'ownlab.nets.Tower()'. Known: ConvNet, ResNet, MobileNet, ViT, ConvNet1d, MLP."),
        # kinds
        ("ownlab.nets.Tower", "ownlab.nets.Counter", "line 5, net.module: must be a subclass of torch.nn.Module, or a "
         "function that returns a module. 'ownlab.nets.Counter' is a subclass of Callback instead. "
         "'ownlab.nets' has Tower, Fixed, Plain, Needy, Picky, make_tower, make_nothing, FocalLoss."),
        ("ownlab.nets.Tower", "ownlab.nets.count", "line 5, net.module: must be a subclass of torch.nn.Module, or a "
         "function that returns a module. 'ownlab.nets.count' is a function instead. "),
        ("ownlab.nets.Tower", "ownlab.nets.tower", "line 5, net.module: 'ownlab.nets.tower' is not of a trusted "
         "package, but of torch.nn.modules.linear. Add --trust torch if you trust its code; it runs with your rights."),
        ("max_epochs: 1", "criterion: ownlab.nets.make_tower", "line 6, net.criterion: must be a subclass of "
         "torch.nn.Module. 'ownlab.nets.make_tower' is a function instead. "),
        ("max_epochs: 1", "optimizer: ownlab.nets.Halving", "line 6, net.optimizer: must be a subclass of "
         "torch.optim.Optimizer. 'ownlab.nets.Halving' is a subclass of LRScheduler instead. "
         "'ownlab.nets' has Lion, NoRate."),
        ("max_epochs: 1", "scheduler: ownlab.nets.Lion", "line 6, net.scheduler: must be a subclass of "
         "torch.optim.lr_scheduler.LRScheduler. 'ownlab.nets.Lion' is a subclass of SGD instead. "
         "'ownlab.nets' has Halving."),
        ("max_epochs: 1", "callbacks: [ownlab.nets.Tower]", "line 6, net.callbacks[0]: must be a subclass of "
         "skorch.callbacks.Callback. 'ownlab.nets.Tower' is a subclass of Module instead. 'ownlab.nets' has Counter, "
         "Early, Stubborn."),
        ("source: ownlab.data.load_shards", "source: ownlab.nets.Counter", "line 3, data.source: must be a function "
         "that returns samples and targets. 'ownlab.nets.Counter' is a subclass of Callback instead. "),
        ("max_epochs: 1", "callbacks: [ownlab.nets.Counter, ownlab.nets.Counter]", "line 6, net.callbacks[1]: "
         "'ownlab.nets.Counter' stands in the list twice. Keep one of them."),
        ("compute:", "search: {name: ownlab.nets.Tower}\ncompute:", "line 8, search.name: there is no search named "
         "'ownlab.nets.Tower'. Known: GridSearchCV, RandomizedSearchCV, HalvingGridSearchCV, HalvingRandomSearchCV."),
        # options
        ("ownlab.nets.Tower", "{name: ownlab.nets.Tower, witdh: 3}",
         "line 5, net.module.witdh: unknown key. Did you mean 'width'?"),
        ("ownlab.nets.Tower", "{name: ownlab.nets.Tower, num_classes: 3}",
         "line 5, net.module.num_classes: unknown key. Known: width, act, pads, flag."),
        ("ownlab.nets.Tower", "{name: ownlab.nets.Tower, width: wide}",
         "line 5, net.module.width: must be an integer. Got 'wide' instead."),
        ("ownlab.nets.Tower", "{name: ownlab.nets.Tower, flag: 1}",
         "line 5, net.module.flag: must be true or false. Got 1 instead."),
        ("ownlab.nets.Tower", "{name: ownlab.nets.make_tower, width: 2.5}",
         "line 5, net.module.width: must be an integer. Got 2.5 instead."),
        ("ownlab.nets.Tower", "{name: ownlab.nets.Plain, width: 2}",
         "line 5, net.module.width: unknown key. There is nothing that can stand here; remove it."),
        ("ownlab.nets.Tower", "ownlab.nets.Needy", "line 5, net.module: 'ownlab.nets.Needy' cannot be used: no file "
         "can give its parameter 'name', which has no default."),
        ("ownlab.nets.Tower", "ownlab.nets.Picky",
         "line 5, net.module.width: the key 'width' is missing. Add it."),
        ("max_epochs: 1", "criterion: {name: ownlab.nets.FocalLoss, weights: [1, a]}",
         "line 6, net.criterion.weights[1]: must be a number. Got 'a' instead."),
        ("max_epochs: 1", "optimizer: ownlab.nets.NoRate", "line 6, net.optimizer: 'ownlab.nets.NoRate' cannot be "
         "used: its signature must have 'lr', which the run gives."),
        ("max_epochs: 1", "optimizer: {name: ownlab.nets.Lion, lr: 1}",
         "line 6, net.optimizer.lr: unknown key. Known: nesterov."),
        ("max_epochs: 1", "scheduler: ownlab.nets.Halving",
         "line 6, net.scheduler.every: the key 'every' is missing. Add it."),
        ("source: ownlab.data.load_shards", "source: {name: ownlab.data.load_shards, task: regression}",
         "line 3, data.source.task: unknown key. Known: folder, sample."),
        ("source: ownlab.data.load_shards", "source: {name: ownlab.data.load_shards, folder: 3}",
         "line 3, data.source.folder: must be a text. Got 3 instead."),
    ],
)  # fmt: skip
def test_message(lab, tmp_path, old, new, expected):
    told = message(write(tmp_path, old, new))
    assert told.startswith(expected) if expected.endswith(" ") else told == expected


def test_names_below_a_package(lab, tmp_path):
    """A module of a package can be reached only where Python has it as an attribute."""
    text = BASE.replace("[ownlab.nets, ownlab.data]", "[ownlab, ownlab.data]")
    assert message(write(tmp_path, text=text)).startswith(
        "line 5, net.module: 'ownlab' has no public module named 'nets'."
    )
    (lab / "__init__.py").write_text("from ownlab import nets")
    forget()
    assert load_experiment(write(tmp_path, text=text), trust=TRUST).net.module.name == "ownlab.nets.Tower"


def test_a_reexport_needs_trust_in_the_package_that_defines_it(lab, tmp_path):
    path = write(tmp_path, "max_epochs: 1", "optimizer: ownlab.nets.SGD")
    assert message(path) == (
        "line 6, net.optimizer: 'ownlab.nets.SGD' is not of a trusted package, but of torch.optim.sgd. Add --trust "
        "torch if you trust its code; it runs with your rights."
    )
    assert load_experiment(path, trust=["ownlab", "torch"]).net.optimizer.arguments["momentum"] == 0


def test_kinds_to_come():
    from sklearn.preprocessing import StandardScaler

    assert KINDS["step"].fits(StandardScaler)
    assert not KINDS["step"].fits(StandardScaler())
    assert not KINDS["step"].fits(dict)


# options


def test_defaults_are_written_as_far_as_yaml_has_them(lab, tmp_path):
    new = "callbacks: [ownlab.nets.Counter]\n  max_epochs: 1"
    experiment = load_experiment(write(tmp_path, "max_epochs: 1", new), trust=TRUST)
    resolved = experiment.resolved()
    assert resolved["net"]["module"] == {"name": "ownlab.nets.Tower", "width": 16, "pads": [0, 0], "flag": False}
    assert resolved["net"]["callbacks"] == [{"name": "ownlab.nets.Counter", "step": 1.0, "mode": "all"}]
    assert resolved["data"]["source"] == {"name": "ownlab.data.load_shards", "sample": 300}
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(resolved))
    assert load_experiment(tmp_path / "again.yaml", trust=TRUST).resolved() == resolved
    assert experiment.net.module.arguments["pads"] == (0, 0)


def test_open_signatures_take_any_key(lab, tmp_path):
    path = write(tmp_path, "ownlab.nets.Tower", "{name: ownlab.nets.make_tower, pads: [1], flag: true}")
    module = load_experiment(path, trust=TRUST).net.module
    assert module.arguments == {"width": None, "pads": [1], "flag": True}
    assert message(write(tmp_path, "ownlab.nets.Tower", "{name: ownlab.nets.make_tower, input_shape: [1]}")) == (
        "line 5, net.module.input_shape: unknown key. Known: width."
    )


def test_paths_are_relative_to_the_file(lab, tmp_path):
    path = write(tmp_path, "ownlab.data.load_shards", "{name: ownlab.data.load_shards, folder: shards}")
    assert load_experiment(path, trust=TRUST).data.source.arguments["folder"] == tmp_path / "shards"


# what is built


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("no_pair", r"The source ownlab.data.no_pair must return samples and targets, \(X, y\), or a "
         r"prunekit.pipeline.Samples. Got ndarray instead."),
        ("three", r"must return samples and targets, \(X, y\), or a prunekit.pipeline.Samples. Got 3 values instead."),
        ("words", "The y that ownlab.data.words returns must hold one class number for each of the 4 samples. Got <U1"),
        ("ragged", "The X that ownlab.data.ragged returns must be an array. Got list instead, which raised ValueError"),
        ("absent", "The source ownlab.data.absent raised FileNotFoundError: no shard 7"),
        ("{name: ownlab.data.with_test, num_test: 300}", "num_test that ownlab.data.with_test returns must be an "
         "integer from 0 to less than the number of samples, 300. Got 300 instead."),
    ],
)  # fmt: skip
def test_what_sources_return_is_checked(lab, tmp_path, source, expected):
    named = source if source.startswith("{") else f"ownlab.data.{source}"
    experiment = load_experiment(write(tmp_path, "ownlab.data.load_shards", named), trust=TRUST)
    with pytest.raises(InputError, match=expected):
        load_split(experiment.data, 0)


def test_sources_can_have_a_test_part(lab, tmp_path):
    experiment = load_experiment(write(tmp_path, "ownlab.data.load_shards", "ownlab.data.with_test"), trust=TRUST)
    split = load_split(experiment.data, 0)
    assert (len(split.y_train), len(split.y_test)) == (200, 100)
    assert split.X_train.dtype == np.float32


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("ownlab.nets.make_nothing", "The function ownlab.nets.make_nothing must return a torch.nn.Module, for the "
         "file names it as 'module'. Got int instead."),
        ("{name: ownlab.nets.Picky, width: 3}", "must be a net that can be initialised. Got NeuralNetClassifier, with "
         "which that raises RuntimeError: a bad day instead."),
        ("ownlab.nets.Plain", "which that raises ValueError: optimizer got an empty parameter list instead."),
    ],
)  # fmt: skip
def test_what_cannot_be_built(lab, tmp_path, module, expected):
    experiment = load_experiment(write(tmp_path, "ownlab.nets.Tower", module), trust=TRUST)
    with pytest.raises((InputError, ParameterError), match=expected):
        run_experiment(experiment, tmp_path / "out")


def test_callbacks_that_cannot_be_cloned(lab, tmp_path):
    path = write(tmp_path, "max_epochs: 1", "callbacks: [ownlab.nets.Stubborn]")
    expected = "The callback ownlab.nets.Stubborn must be one that scikit-learn can clone: attributes that do not"
    with pytest.raises(InputError, match=expected):
        load_pipeline(path, trust=TRUST)


@pytest.mark.parametrize(
    "module", ["ownlab.nets.Fixed", "ownlab.nets.Tower.small", "{name: ownlab.nets.make_tower, width: 12}"]
)
def test_run_of_own_code(lab, tmp_path, module):
    new = f"{module}\n  optimizer: ownlab.nets.Lion\n  criterion: {{name: ownlab.nets.FocalLoss, gamma: 1}}\n"
    new += "  scheduler: {name: ownlab.nets.Halving, every: 1}\n  callbacks: [ownlab.nets.Counter, ownlab.nets.Early]"
    experiment = load_experiment(write(tmp_path, "ownlab.nets.Tower", new), trust=TRUST)
    result = run_experiment(experiment, tmp_path / "out")
    assert result.reduction >= 0.3
    written = tmp_path / "out" / "experiment.yaml"
    assert load_experiment(written, trust=TRUST).resolved() == experiment.resolved()
    assert UNTRUSTED in message(written, ())


def test_report_of_own_code(lab, tmp_path):
    run_experiment(load_experiment(write(tmp_path), trust=TRUST), tmp_path / "out")
    forget()
    (lab / "imported").unlink()
    without = report_run(tmp_path / "out").read_text()
    assert not was_imported(lab)
    assert len(report_run(tmp_path / "out", trust=TRUST).read_text()) > len(without)


SEARCH = """search:
  name: GridSearchCV
  cv: 2
  param_grid: {estimator__module__width: [8, 12], estimator__criterion__gamma: [1.0]}
compute:"""


def test_search_over_own_options(lab, tmp_path):
    text = BASE.replace("max_epochs: 1", "max_epochs: 1\n  criterion: ownlab.nets.FocalLoss").replace(
        "compute:", SEARCH
    )
    result = run_experiment(load_experiment(write(tmp_path, text=text), trust=TRUST), tmp_path / "out")
    best = load_experiment(result.folder / "best.yaml", trust=TRUST)
    assert best.net.module.arguments["width"] in (8, 12)
    wrong = message(write(tmp_path, "[8, 12]", "[8, wide]", text))
    assert wrong == "line 12, search.param_grid.estimator__module__width[1]: must be an integer. Got 'wide' instead."


@pytest.mark.parametrize("module", ["ownlab.nets.Tower", "ownlab.nets.make_tower", "ownlab.nets.Tower.small"])
def test_dump_names_own_code(lab, tmp_path, module):
    new = f"{module}\n  criterion: {{name: ownlab.nets.FocalLoss, gamma: 1}}\n  callbacks: [ownlab.nets.Counter]"
    file = load_pipeline(write(tmp_path, "ownlab.nets.Tower", new), trust=TRUST)
    imports = ["ownlab.nets", "ownlab.data"]
    text = dump_pipeline(clone(file.estimator), file.experiment.data, name="own", imports=imports)
    (tmp_path / "again.yaml").write_text(text)
    again = load_experiment(tmp_path / "again.yaml", trust=TRUST)
    assert again.net.module.name == module
    assert again.net.model_dump() == file.experiment.net.model_dump()
    with pytest.raises(ParameterError, match="must be one that a pipeline file can name"):
        dump_pipeline(file.estimator, {"source": "digits"}, name="own")


def test_dump_of_a_net_with_a_function(lab):
    from skorch import NeuralNetClassifier
    from skorch.dataset import ValidSplit

    from prunekit import TaylorPruner

    nets = importlib.import_module("ownlab.nets")
    net = NeuralNetClassifier(
        nets.make_tower, module__input_shape=(1, 8, 8), module__num_classes=10, module__width=None,
        criterion=nets.FocalLoss, criterion__gamma=1.0, criterion__weights=None, optimizer=nets.Lion,
        optimizer__nesterov=False, lr=0.1, max_epochs=1, batch_size=32, verbose=0, iterator_train__shuffle=True,
        train_split=ValidSplit(0.2, stratified=True, random_state=3), callbacks__print_log=None,
    )  # fmt: skip
    text = dump_pipeline(TaylorPruner(net, random_state=3), {"source": "digits"}, name="own", imports=["ownlab.nets"])
    assert yaml.safe_load(text)["net"]["module"] == {"name": "ownlab.nets.make_tower", "width": None}


def test_worker_processes_find_own_code(tmp_path):
    """What the command appends to the path, loky's processes have as well."""
    nets = textwrap.dedent(NETS).replace("from ownlab._hidden import Hidden", 'Path(f"process-{os.getpid()}").touch()')
    (tmp_path / "ownscript.py").write_text(nets)
    text = BASE.replace("[ownlab.nets, ownlab.data]", "[ownscript]").replace("ownlab.data.load_shards", "digits")
    text = text.replace("ownlab.nets.Tower", "ownscript.make_tower").replace("compute:", SEARCH)
    path = write(tmp_path, ", estimator__criterion__gamma: [1.0]", "", text)
    code = """
        from joblib import parallel_config
        from prunekit.cli import app
        with parallel_config("loky", n_jobs=2):
            app()
    """
    done = in_process(tmp_path, code, "run", path, "--trust", "ownscript", "--quiet")
    assert done == (0, "")
    assert (tmp_path / "runs" / "own" / "best.yaml").exists()
    assert len(list(tmp_path.glob("process-*"))) == 3


# the command line and the schema


@pytest.mark.parametrize("command", ["validate", "show", "run"])
def test_commands(lab, tmp_path, monkeypatch, command):
    path = write(tmp_path)
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(app, [command, str(path)])
    assert refused.exit_code == 2
    assert UNTRUSTED in refused.output
    assert not was_imported(lab)
    done = CliRunner().invoke(app, [command, str(path), "--trust", "ownlab"])
    assert done.exit_code == 0, done.output
    assert "--trust" in CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "120"}).output


def test_trust_that_is_no_name(lab, tmp_path):
    done = CliRunner().invoke(app, ["validate", str(write(tmp_path)), "--trust", "./ownlab"])
    assert done.exit_code == 2
    assert "Got './ownlab' instead." in done.output


def test_schema(lab, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = experiment_schema()
    validator = jsonschema.Draft202012Validator(schema)
    content = yaml.safe_load(BASE)
    content["net"]["module"] = {"name": "ownlab.nets.Tower", "anything": 3}
    validator.validate(content)
    validator.validate(json.loads(json.dumps(load_experiment(write(tmp_path), trust=TRUST).resolved())))
    for module in ("ownlab._x.Tower", "Tower", {"name": "Tower", "anything": 3}):
        content["net"]["module"] = module
        assert not validator.is_valid(content)
    content["net"]["module"] = "MLP"
    for imports in ("ownlab", [3], ["_x"], ["a-b"]):
        content["imports"] = imports
        assert not validator.is_valid(content)
