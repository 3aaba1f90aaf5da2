"""Variables, included files and what the command line sets, and how mistakes in them are told."""

import textwrap

import pytest

from prunekit.exceptions import PipelineFileError
from prunekit.pipeline import load_experiment
from prunekit.pipeline._assembly import MAX_FILES, MAX_LEVELS, assemble

BASE = """\
name: tiny
data: {source: digits}
net:
  module: {name: ConvNet, widths: [8, 16]}
  optimizer: {name: SGD, momentum: 0.9}
prune: {target_reduction: 0.6}
"""


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file and returns its path."""

    def write(text, name="main.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


def content(path, *assignments):
    """Return the assembled content, which need not be an experiment."""
    return assemble(path, assignments).content


def message(path, *assignments):
    """Return what is told of a file, without its path."""
    with pytest.raises(PipelineFileError) as caught:
        load_experiment(path, assignments)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ").replace(str(path.parent), "DIR")


class TestVariables:
    """The key ``vars``."""

    def test_whole_values_keep_their_type(self, write):
        text = """\
            vars: {a: 1, b: 1e-3, c: true, d: [8, 16], e: {name: SGD}, f: null, g: text}
            k: ['${a}', '${b}', "${c}", '${d}', '${e}', '${f}', '${g}']
            l: ${a}
            """
        assert content(write(text)) == {"k": [1, 0.001, True, [8, 16], {"name": "SGD"}, None, "text"], "l": 1}

    def test_text_around_a_variable(self, write):
        text = "vars: {a: 1, b: 1e-5, c: true, d: x}\nk: v${a}-${b}-${c}-${d}\nl: $${a} $$ $ {a}\n"
        assert content(write(text)) == {"k": "v1-1e-05-true-x", "l": "${a} $$ $ {a}"}

    def test_variables_hold_variables_in_any_order(self, write):
        text = "vars: {b: '${a}/sub', c: ['${b}', '${a}'], a: top}\nk: ${c}\n"
        assert content(write(text)) == {"k": ["top/sub", "top"]}

    def test_no_variables(self, write):
        assert content(write("vars:\nk: 1\n")) == {"k": 1}

    def test_in_an_experiment(self, write):
        text = "vars: {widths: [4, 8], seed: 7}\nseed: ${seed}\n" + BASE.replace("[8, 16]", "'${widths}'")
        experiment = load_experiment(write(text))
        assert (experiment.seed, experiment.net.module.arguments["widths"]) == (7, [4, 8])
        assert "vars" not in experiment.resolved()

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("vars: {width: 1}\nk: ${wdth}", "line 2, k: there is no variable named 'wdth'. Did you mean 'width'?"),
            ("k: ${a}", "line 1, k: there is no variable named 'a'. Define it under the key 'vars'."),
            ("vars: {a: 1}\nk: {b: ${a}}",
             "line 2: is not valid YAML: while parsing a flow mapping, expected ',' or '}', but got '{'. "
             "Quote a '${…}' that stands within braces or brackets."),
            ("k: ${}", "line 1, k: there is no variable named ''. Define it under the key 'vars'."),
            ("vars: {a: 1}\nk: [x, '${a']",
             "line 2, k[1]: a '${' must be closed by '}'. Write '$${' for a '${' that is meant as it stands."),
            ("vars: {a: [1]}\nk: x${a}",
             "line 2, k: the variable 'a' must be a text, a number, true or false to stand within a text. "
             "Got [1] instead."),
            ("vars:\n  a: 1\n  b: ${c}", "line 3, vars.b: there is no variable named 'c'. Known: a, b."),
            ("vars:\n  a: ${b}\n  b: x${a}",
             "line 2, vars.a: the variable refers to itself: a → b → a. Give one of them a value."),
            ("vars: {a: '${a}'}",
             "line 1, vars.a: the variable refers to itself: a → a. Give one of them a value."),
            ("vars: [1]", "line 1, vars: must be a mapping of names to values. Got [1] instead."),
            ("vars: {2a: 1}", "line 1, vars.2a: the name of a variable must be letters, digits and '_', not beginning "
             "with a digit. Got '2a' instead."),
        ],
    )  # fmt: skip
    def test_message(self, write, text, expected):
        assert message(write(text)) == expected

    def test_wrong_value_names_the_reference(self, write):
        text = BASE.replace("[8, 16]", "'${widths}'") + "vars: {widths: [0]}\n"
        assert message(write(text)) == (
            "line 4, net.module.widths[0]: must be at least 1. Got 0 instead. It comes from '${widths}'."
        )

    def test_lists_that_double_are_refused(self, write):
        lines = ["vars:", "  a0: [1, 1, 1, 1, 1, 1, 1, 1]"]
        lines += [f"  a{number}: ['${{a{number - 1}}}', '${{a{number - 1}}}']" for number in range(1, 15)]
        got = message(write("\n".join(lines) + "\nk: ${a14}\n"))
        assert "the variables must give at most 20000 values and 20 levels in all. Write shorter lists." in got

    def test_lists_that_nest_are_refused(self, write):
        lines = ["vars:", "  a0: [1]", *(f"  a{number}: [[['${{a{number - 1}}}']]]" for number in range(1, 10))]
        got = message(write("\n".join(lines) + "\n"))
        assert "the variables must give at most 20000 values and 20 levels in all. Write shorter lists." in got

    def test_texts_that_double_are_refused(self, write):
        lines = ["vars:", "  a0: xxxxxxxxxxxxxxxx"]
        lines += [f"  a{number}: ${{a{number - 1}}}${{a{number - 1}}}" for number in range(1, 15)]
        got = message(write("\n".join(lines) + "\nk: ${a14}\n"))
        assert "a text must have at most 10000 characters of variables, all texts 1000000." in got

    def test_many_long_texts_are_refused(self, write):
        many = "\n".join(f"k{number}: x${{a}}" for number in range(1000))
        got = message(write(f"vars: {{a: {'x' * 9000}}}\n{many}\n"))
        assert "a text must have at most 10000 characters of variables, all texts 1000000." in got

    def test_long_chains_are_refused(self, write):
        lines = ["vars:", *(f"  a{number}: ${{a{number + 1}}}" for number in range(5000)), "  a5000: 1"]
        assert "variables must refer to each other at most 20 levels deep." in message(write("\n".join(lines)))


class TestInclude:
    """The key ``include``."""

    def test_the_including_file_wins(self, write):
        write("a: 1\nb: {c: 1, d: [1, 2]}\ne: 1\n", "shared.yaml")
        path = write("include: shared.yaml\na: 2\nb: {d: [3]}\n")
        assert content(path) == {"a": 2, "b": {"c": 1, "d": [3]}, "e": 1}

    def test_later_files_win(self, write):
        write("a: 1\nb: 1\nc: 1\n", "one.yaml")
        write("a: 2\nb: 2\n", "two.yaml")
        assert content(write("include: [one.yaml, two.yaml]\na: 3\n")) == {"a": 3, "b": 2, "c": 1}

    def test_paths_are_relative_to_the_including_file(self, write):
        write("a: 1\n", "parts/deep/a.yaml")
        write("include: deep/a.yaml\nb: 1\n", "parts/b.yaml")
        write("include: ../parts/b.yaml\n", "other/c.yaml")
        assert content(write("include: other/c.yaml\n")) == {"a": 1, "b": 1}

    def test_variables_of_an_included_file(self, write):
        write("vars: {a: 1, b: 1}\nk: ['${a}', '${b}']\n", "shared.yaml")
        assert content(write("include: shared.yaml\nvars: {b: 2}\n")) == {"k": [1, 2]}

    @pytest.mark.parametrize(
        ("below", "above", "expected"),
        [
            ("{name: SGD, momentum: 0.9}", "{name: Adam, eps: 1e-6}", {"name": "Adam", "eps": 1e-6}),
            ("{name: SGD, momentum: 0.9}", "Adam", "Adam"),
            ("{name: SGD, momentum: 0.9}", "{momentum: 0.5}", {"name": "SGD", "momentum": 0.5}),
            ("{name: SGD, momentum: 0.9}", "{name: SGD, nesterov: true}",
             {"name": "SGD", "momentum": 0.9, "nesterov": True}),
            ("SGD", "{momentum: 0.5}", {"name": "SGD", "momentum": 0.5}),
            ("SGD", "{name: Adam}", {"name": "Adam"}),
        ],
    )  # fmt: skip
    def test_options_belong_to_a_name(self, write, below, above, expected):
        write(f"net: {{optimizer: {below}}}\n", "shared.yaml")
        assert content(write(f"include: shared.yaml\nnet: {{optimizer: {above}}}\n")) == {
            "net": {"optimizer": expected}
        }

    def test_names_of_experiments_replace_nothing_else(self, write):
        write(BASE, "shared.yaml")
        experiment = load_experiment(write("include: shared.yaml\nname: other\n"))
        assert (experiment.name, experiment.net.module.name) == ("other", "ConvNet")

    def test_mistakes_are_told_where_they_stand(self, write):
        write(BASE.replace("0.6", "6").replace("0.9", "x"), "parts/shared.yaml")
        path = write("include: parts/shared.yaml\nseed: x\nnet: {lr: 0}\n")
        assert message(path) == (
            "4 problems.\n"
            "  line 2, seed: must be an integer. Got 'x' instead.\n"
            "  line 3, net.lr: must be greater than 0. Got 0 instead.\n"
            "  DIR/parts/shared.yaml: line 5, net.optimizer.momentum: must be a number. Got 'x' instead.\n"
            "  DIR/parts/shared.yaml: line 6, prune.target_reduction: must be less than 1. Got 6 instead."
        )

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("shard.yaml", "line 2, include: there is no file DIR/shard.yaml. "
             "Give a path relative to the including file."),
            ("parts", "line 2, include: there is no file DIR/parts. Give a path relative to the including file."),
            ("../shared.yaml", "line 2, include: must be a file within the folder of the pipeline file, given relative "
             "to the including file. Got '../shared.yaml' instead; copy the file to DIR."),
            ("/etc/passwd", "line 2, include: must be a file within the folder of the pipeline file, given relative "
             "to the including file. Got '/etc/passwd' instead; copy the file to DIR."),
            ("link.yaml", "line 2, include: must be a file within the folder of the pipeline file, given relative "
             "to the including file. Got 'link.yaml' instead; copy the file to DIR."),
            ("3", "line 2, include: must be the path of a YAML file, or a list of paths. Got 3 instead."),
            ("{a: 1}", "line 2, include: must be the path of a YAML file, or a list of paths. Got a mapping instead."),
            ("[shared.yaml, '']",
             "line 2, include[1]: must be the path of a YAML file, or a list of paths. Got '' instead."),
            ("${a}.yaml",
             "line 2, include: must be a plain path, for variables are put in later. Got '${a}.yaml' instead."),
            ("main.yaml", "line 2, include: the file includes itself: main.yaml → main.yaml. "
             "Remove one of these lines."),
        ],
    )  # fmt: skip
    def test_message(self, write, tmp_path, name, expected):
        write("a: 1\n", "outside.yaml")
        write("a: 1\n", "here/shared.yaml")
        write("a: 1\n", "here/parts/part.yaml")
        (tmp_path / "here" / "link.yaml").symlink_to(tmp_path / "outside.yaml")
        assert message(write(f"name: tiny\ninclude: {name}\n", "here/main.yaml")) == expected

    def test_cycles_are_told(self, write):
        write("include: two.yaml\n", "one.yaml")
        write("a: 1\ninclude: one.yaml\n", "two.yaml")
        assert message(write("include: one.yaml\n")) == (
            "DIR/two.yaml: line 2, include: the file includes itself: one.yaml → two.yaml → one.yaml. "
            "Remove one of these lines."
        )

    def test_broken_file_is_named(self, write):
        write("a: 1\nb: [\n", "shared.yaml")
        assert message(write("include: shared.yaml\n")).startswith("DIR/shared.yaml: line 3: is not valid YAML: ")

    def test_depth_and_number_are_bounded(self, write):
        for level in range(MAX_LEVELS + 2):
            write(f"include: level{level + 1}.yaml\n", f"level{level}.yaml")
        write("a: 1\n", f"level{MAX_LEVELS}.yaml")
        assert content(write("include: level1.yaml\n")) == {"a": 1}
        write(f"include: level{MAX_LEVELS + 1}.yaml\n", f"level{MAX_LEVELS}.yaml")
        assert message(write("include: level1.yaml\n")).endswith(
            "include: files must include each other at most 5 levels deep."
        )
        write("a: 1\n", "leaf.yaml")
        assert message(write(f"include: [{', '.join(['leaf.yaml'] * MAX_FILES)}]\n")) == (
            f"line 1, include[{MAX_FILES - 1}]: at most {MAX_FILES} files can be included."
        )


class TestSet:
    """What the command line sets."""

    @pytest.mark.parametrize(
        ("assignment", "keys", "value"),
        [
            ("seed=5", ("seed",), 5),
            ("name=other", ("name",), "other"),
            ("prune.target_reduction=0.7", ("prune", "target_reduction"), 0.7),
            ("net.lr=1e-2", ("net", "lr"), 0.01),
            ("net.module.widths=[4, 8]", ("net", "module", "widths"), [4, 8]),
            ("net.optimizer=AdamW", ("net", "optimizer", "name"), "AdamW"),
            ("net.optimizer={name: Adam, eps: 1e-6}", ("net", "optimizer", "eps"), 1e-6),
            ("data.source.name=digits", ("data", "source", "name"), "digits"),
            ("compute.threads=2", ("compute", "threads"), 2),
            ("prune.step='linear'", ("prune", "step"), "linear"),
        ],
    )
    def test_value(self, write, assignment, keys, value):
        got = load_experiment(write(BASE), [assignment]).resolved()
        for key in keys:
            got = got[key]
        assert got == value

    def test_options_of_a_short_form(self, write):
        path = write(BASE.replace("{name: SGD, momentum: 0.9}", "SGD"))
        experiment = load_experiment(path, ["net.optimizer.momentum=0.5"])
        assert (experiment.net.optimizer.name, experiment.net.optimizer.arguments["momentum"]) == ("SGD", 0.5)

    def test_the_last_wins_and_variables_can_be_set(self, write):
        path = write("vars: {s: 1}\nseed: ${s}\n" + BASE)
        assert load_experiment(path, ["vars.s=2", "vars.s=3"]).seed == 3
        assert load_experiment(path, ["vars.t=9", "seed=${t}"]).seed == 9

    @pytest.mark.parametrize(
        ("assignment", "expected"),
        [
            ("seed", "must be KEY=VALUE, as in --set prune.target_reduction=0.7."),
            ("=3", "must be KEY=VALUE, as in --set prune.target_reduction=0.7."),
            ("net..lr=3", "must be KEY=VALUE, as in --set prune.target_reduction=0.7."),
            ("seed=x", "seed: must be an integer. Got 'x' instead."),
            ("seed=", "seed: must be an integer. Got nothing instead."),
            ("seed=[3", "seed: is not valid YAML: while parsing a flow sequence, expected ',' or ']', but got "
             "'<stream end>'."),
            ("seed=!!python/name:os.system", "seed: tags are not allowed. Got "
             "'tag:yaml.org,2002:python/name:os.system'; write a plain value."),
            ("seed=&a 3", "seed: anchors (&) and aliases (*) are not allowed. Write the value out."),
            ("seed=${s}", "seed: there is no variable named 's'. Define it under the key 'vars'."),
            ("sed=3", "sed: unknown key. Did you mean 'seed'?"),
            ("computee.threads=1", "computee: unknown key. Did you mean 'compute'?"),
            ("net.optimizer.name=SDG", "net.optimizer.name: there is no optimizer named 'SDG'. Did you mean 'SGD'?"),
            ("net.module.widths[0]=3", "an item of a list cannot be set. Set the whole list, as in --set "
             "net.module.widths=[8,16]."),
            ("include=a.yaml", "include: files are included by files only. Write the key into the file."),
            (".".join("abcdefghijk") + "=1", "must be a key at most 10 levels deep."),
        ],
    )  # fmt: skip
    def test_message(self, write, assignment, expected):
        assert message(write(BASE), assignment) == f"--set {assignment}: {expected}"

    def test_long_values_are_refused(self, write):
        got = message(write(BASE), f"name={'x' * 20_000}")
        assert got == f"--set name={'x' * 72}...: name: must have at most 10000 characters."
