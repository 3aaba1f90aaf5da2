"""Every step that a file can name is checked, built and written back; nothing in a file reaches further."""

import inspect
import json
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn import base, cluster, compose, ensemble, feature_selection, linear_model, pipeline, preprocessing, svm
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier, kernels
from sklearn.neural_network import MLPClassifier

from prunekit.exceptions import ParameterError
from prunekit.pipeline._catalogue import CATALOGUE, build_step, describe_step
from prunekit.pipeline._forms import INVALID_PARAMETER
from prunekit.pipeline._parameters import LEFT_OUT, parameters_of
from prunekit.pipeline._problems import dotted
from prunekit.pipeline._section import UNKNOWN_KEY, UNKNOWN_NAME, Section
from prunekit.pipeline.steps import ChannelScaler, Reshape

X, Y = load_iris(return_X_y=True)
NAMES = list(CATALOGUE)
REQUIRED = {
    "estimator": {"name": "RidgeClassifier"},
    "transformer_list": [["a", {"name": "PCA"}]],
    "transformers": [["a", {"name": "PCA"}, [0, 1]]],
    "estimators": [["a", {"name": "RidgeClassifier"}]],
}
REQUIRED_OF = {"OutputCodeClassifier": {"estimator": {"name": "SVC"}}}
CLASSES = ("StandardScaler", "PCA", "SelectKBest", "ColumnTransformer", "FeatureUnion", "RandomForestClassifier")


def required(name):
    """Return a value for every required parameter of a step."""
    keys = [key for key, field in CATALOGUE[name].options.model_fields.items() if field.is_required()]
    return {key: REQUIRED_OF.get(name, REQUIRED)[key] for key in keys}


def parameters(value):
    """Return what an estimator is made of, in a form in which equal ones compare as equal."""
    if isinstance(value, base.BaseEstimator):
        return type(value).__name__, {key: parameters(item) for key, item in value.get_params(deep=False).items()}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(parameters, value)]
    return repr(value.item() if isinstance(value, np.generic) else value)


def errors(name, options):
    """Return key path, type and context of what is wrong."""
    with pytest.raises(ValidationError) as info:
        build_step(name, options, 0)
    return [(dotted(error["loc"]), error["type"], error.get("ctx", {})) for error in info.value.errors()]


# ------------------------------------------------------------------------------------------------ the catalogue


def test_it_has_what_people_use():
    assert {*CLASSES, "LogisticRegression", "KMeans", "SimpleImputer", "VotingClassifier", "Reshape"} <= set(NAMES)
    assert sorted(NAMES) == NAMES
    assert len(NAMES) == len(CATALOGUE) > 150


def test_it_is_read_only():
    with pytest.raises(TypeError):
        CATALOGUE["PCA"] = None


@pytest.mark.parametrize("name", NAMES)
def test_entries_tell_of_their_class(name):
    entry = CATALOGUE[name]
    assert entry.target.__name__ == name
    assert entry.summary
    assert "\n" not in entry.summary
    assert issubclass(entry.options, Section)
    assert set(entry.options.model_fields) <= set(inspect.signature(entry.target).parameters)


def test_tasks():
    tasks = {name: CATALOGUE[name].tasks for name in ("SVC", "SVR", "PCA", "KMeans")}
    both = ("classification", "regression")
    assert tasks == {"SVC": ("classification",), "SVR": ("regression",), "PCA": both, "KMeans": both}


@pytest.mark.parametrize("name", NAMES)
def test_steps_work_on_arrays_of_numbers(name):
    tags = build_step(name, required(name), 0).__sklearn_tags__().input_tags
    assert tags.two_d_array
    assert not tags.pairwise


@pytest.mark.slow
def test_nothing_is_looked_up_before_somebody_asks():
    code = (
        "import sys, prunekit.pipeline._catalogue as catalogue;"
        "before = 'sklearn.semi_supervised' in sys.modules; 'PCA' in catalogue.CATALOGUE;"
        "print(before, 'sklearn.semi_supervised' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "True"]


# ------------------------------------------------------------------------------------------------ wrong values


ONE_OR_MORE = "an integer of at least 1, a number with a decimal point in (0, 1]"
COMPONENTS = "an integer of at least 0, a number with a decimal point in (0, 1), 'mle' or null"
UNION = {"transformer_list": [["a", "PCA"]]}
COLUMNS = "a column number, or a list of column numbers or of true and false"
SCORES = "'f_classif', 'f_regression', 'chi2', 'mutual_info_classif', 'mutual_info_regression' or 'r_regression'"


@pytest.mark.parametrize(
    ("name", "options", "key", "wanted"),
    [
        ("PCA", {"n_components": -1}, "n_components", COMPONENTS),
        ("PCA", {"n_components": 1.0}, "n_components", COMPONENTS),
        ("PCA", {"n_components": "mel"}, "n_components", COMPONENTS),
        ("PCA", {"n_components": True}, "n_components", COMPONENTS),
        ("PCA", {"n_components": [2]}, "n_components", COMPONENTS),
        ("PCA", {"whiten": 1}, "whiten", "true or false"),
        ("PCA", {"whiten": "yes"}, "whiten", "true or false"),
        ("PCA", {"tol": math.inf}, "tol", "a number of at least 0"),
        ("PCA", {"tol": math.nan}, "tol", "a number of at least 0"),
        ("PCA", {"random_state": -1}, "random_state", "an integer in [0, 4294967295] or null"),
        ("PCA", {"svd_solver": None}, "svd_solver", "'arpack', 'auto', 'covariance_eigh', 'full' or 'randomized'"),
        ("SVC", {"C": 0}, "C", "a number greater than 0"),
        ("SVC", {"C": {"name": "PCA"}}, "C", "a number greater than 0"),
        ("SVC", {"gamma": "atuo"}, "gamma", "'auto', 'scale' or a number of at least 0"),
        ("MinMaxScaler", {"feature_range": 1}, "feature_range", "a list"),
        ("RandomForestClassifier", {"n_jobs": 0}, "n_jobs", "-1, an integer of at least 1 or null"),
        ("RandomForestClassifier", {"n_jobs": -2}, "n_jobs", "-1, an integer of at least 1 or null"),
        ("RandomForestClassifier", {"max_features": "all"}, "max_features", f"{ONE_OR_MORE}, 'log2', 'sqrt' or null"),
        ("SequentialFeatureSelector", {"estimator": "SVC", "cv": 1}, "cv", "an integer of at least 2 or null"),
        ("SelectKBest", {"score_func": "f_clasif"}, "score_func", SCORES),
        ("KBinsDiscretizer", {"dtype": "int32"}, "dtype", "'float64', 'float32' or null"),
        ("AdaBoostClassifier", {"estimator": 3}, "estimator", "a step with 'fit' and 'predict' or null"),
        ("AdaBoostClassifier", {"estimator": "PCA"}, "estimator", "a step with 'fit' and 'predict' or null"),
        ("AdaBoostClassifier", {"estimator": {"name": "SVC", "C": 0}}, "estimator.C", "a number greater than 0"),
        ("Birch", {"n_clusters": "PCA"}, "n_clusters", "a step that clusters, an integer of at least 1 or null"),
        ("FeatureUnion", {"transformer_list": ["PCA"]}, "transformer_list[0]", "a list of a name and a step"),
        ("FeatureUnion", {"transformer_list": [["a"]]}, "transformer_list[0]", "a list of a name and a step"),
        ("FeatureUnion", {"transformer_list": [["a__b", "PCA"]]}, "transformer_list[0][0]", "a text without '__'"),
        ("FeatureUnion", {"transformer_list": [["a", "SVC"]]}, "transformer_list[0][1]",
         "a step with 'transform', 'drop' or 'passthrough'"),
        ("FeatureUnion", {"transformer_list": [["a", None]]}, "transformer_list[0][1]",
         "the name of a step, or a mapping of a name and options"),
        ("FeatureUnion", {"transformer_list": [["verbose", "PCA"]]}, "transformer_list[0][0]",
         "another name than those of options (transformer_list, n_jobs, transformer_weights, verbose, "
         "verbose_feature_names_out)"),
        ("ColumnTransformer", {"transformers": [["a", "PCA"]]}, "transformers[0]",
         "a list of a name, a step and columns"),
        ("ColumnTransformer", {"transformers": [["a", "PCA", "sepal"]]}, "transformers[0][2]", COLUMNS),
        ("ColumnTransformer", {"transformers": [["a", "PCA", [0, True]]]}, "transformers[0][2]", COLUMNS),
        ("VotingClassifier", {"estimators": [["a", "PCA"]]}, "estimators[0][1]",
         "a step with 'fit' and 'predict' or 'drop'"),
        ("Reshape", {"shape": [-1, -1]}, "shape", "a list of integers of at least 1, of which one may be -1"),
    ],
)  # fmt: skip
def test_wrong_values(name, options, key, wanted):
    assert [(at, kind, context.get("wanted")) for at, kind, context in errors(name, options)] == [
        (key, INVALID_PARAMETER, wanted)
    ]


@pytest.mark.parametrize(
    ("name", "options", "key", "kind"),
    [
        ("PCE", {}, "name", UNKNOWN_NAME),
        ("PCA", {"n_component": 2}, "n_component", UNKNOWN_KEY),
        ("FeatureUnion", {}, "transformer_list", "missing"),
        ("SelfTrainingClassifier", {}, "estimator", "missing"),
        ("FeatureUnion", {"transformer_list": []}, "transformer_list", "too_short"),
        ("FeatureUnion", {"transformer_list": {"a": "PCA"}}, "transformer_list", "list_type"),
        ("FeatureUnion", {"transformer_list": [["a", "PCA"], ["a", "PCA"]]}, "transformer_list[1][0]",
         "duplicate_name"),
        ("FeatureUnion", {"transformer_list": [["a", "PCE"]]}, "transformer_list[0][1].name", UNKNOWN_NAME),
        ("FeatureUnion", {"transformer_list": [["a", {"n_components": 2}]]}, "transformer_list[0][1].name", "missing"),
        ("FeatureUnion", {"transformer_list": [["a", {"name": ["PCA"]}]]}, "transformer_list[0][1].name",
         UNKNOWN_NAME),
        ("FeatureUnion", {"transformer_list": [["a", {"name": "PCA", "k": 2}]]}, "transformer_list[0][1].k",
         UNKNOWN_KEY),
        ("RFECV", {"estimator": "SVC", "scoring": "acuracy"}, "scoring", UNKNOWN_NAME),
        ("ChannelScaler", {"kind": "robust"}, "kind", "literal_error"),
    ],
)  # fmt: skip
def test_wrong_keys_and_names(name, options, key, kind):
    assert [(at, got) for at, got, _ in errors(name, options)] == [(key, kind)]


def test_every_problem_is_told_at_once():
    union = {"transformer_list": [["a", {"name": "PCA", "tol": -1, "k": 1}], ["b", "PCE"], ["c", "PCA"]], "n_jobs": 0}
    assert {key for key, *_ in errors("FeatureUnion", union)} == {
        "transformer_list[0][1].tol",
        "transformer_list[0][1].k",
        "transformer_list[1][1].name",
        "n_jobs",
    }


def test_choices_are_known_for_near_matches():
    [(_, _, context)] = errors("PCA", {"n_components": "mel"})
    assert context["known"] == ["mle"]


# ------------------------------------------------------------------------------------------------ hostile files


@pytest.mark.parametrize("name", NAMES)
def test_out_of_reach(name):
    """No entry offers what scikit-learn would unpickle, follow as a path of attributes, format or call."""
    offered = set(CATALOGUE[name].options.model_fields)
    assert not offered & {*LEFT_OUT, "func", "inverse_func", "kw_args", "inv_kw_args", "callback", "solver_options"}


@pytest.mark.parametrize(
    "name",
    [
        *("GridSearchCV", "Pipeline", "FrozenEstimator", "CountVectorizer", "HashingVectorizer", "TfidfVectorizer"),
        *("TSNE", "DictVectorizer", "LabelEncoder", "KernelCenterer", "PatchExtractor", "BaseEstimator", "os.system"),
    ],
)
def test_no_steps(name):
    assert name not in CATALOGUE
    assert errors(name, {})[0][:2] == ("name", UNKNOWN_NAME)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("AgglomerativeClustering", {"memory": "/tmp/cache"}),
        ("FeatureAgglomeration", {"memory": "/tmp/cache"}),
        ("FeatureAgglomeration", {"pooling_func": "numpy.load"}),
        ("RFE", {"estimator": "SVC", "importance_getter": "__class__.__init__"}),
        ("FunctionTransformer", {"func": "os.system"}),
        ("FunctionTransformer", {"kw_args": {"command": "true"}}),
        ("FunctionTransformer", {"feature_names_out": "os.system"}),
        ("SelectKBest", {"score_func": "os.system"}),
        ("ColumnTransformer", {**required("ColumnTransformer"), "verbose_feature_names_out": "{feature_name.a}"}),
        ("FeatureUnion", {"transformer_list": [["a__memory", "PCA"]]}),
        ("FeatureUnion", {**UNION, "a__memory": "/tmp/cache"}),
        ("QuantileRegressor", {"solver_options": {"log_file": "x"}}),
        ("KNeighborsClassifier", {"metric": "os.system"}),
        ("KernelPCA", {"kernel": "__import__"}),
        ("GaussianProcessRegressor", {"kernel": "RBF"}),
        ("OneHotEncoder", {"dtype": "object"}),
        ("RFECV", {"estimator": "SVC", "cv": [[[0], [1]]]}),
        ("BaggingClassifier", {"estimator": {"name": "Pipeline", "steps": [], "memory": "x"}}),
        ("BaggingClassifier", {"estimator": {"name": "AgglomerativeClustering", "memory": "x"}}),
    ],
)
def test_hostile(name, options):
    assert errors(name, options)


def test_texts_and_mappings_of_new_classes_are_left_out():
    """What nobody has looked at is not offered, even if a later scikit-learn has it."""

    class Newcomer(base.BaseEstimator):
        _parameter_constraints = {"path": [str, None], "extra": [dict, None], "alpha": ["boolean"]}  # noqa: RUF012

        def __init__(self, path=None, extra=None, alpha=False):
            pass

    assert list(parameters_of(Newcomer, CATALOGUE, {})) == ["alpha"]


def test_nesting_takes_no_exponential_time():
    options = {"name": "SVC"}
    for _ in range(18):
        options = {"name": "BaggingClassifier", "estimator": options}
    assert describe_step(build_step("BaggingClassifier", {"estimator": options}, 0))


# ------------------------------------------------------------------------------------------------ building


def test_lists_become_tuples_where_they_must():
    assert build_step("MinMaxScaler", {"feature_range": [0, 2]}, 0).feature_range == (0, 2)
    assert build_step("MLPClassifier", {"hidden_layer_sizes": [8, 4]}, 0).hidden_layer_sizes == (8, 4)
    assert build_step("Reshape", {"shape": [1, 4]}, 0).shape == (1, 4)
    assert build_step("OneHotEncoder", {"categories": [[0, 1]]}, 0).categories == [[0, 1]]


def test_names_stand_for_functions():
    assert build_step("SelectKBest", {"score_func": "f_regression"}, 0).score_func is feature_selection.f_regression
    assert build_step("OneHotEncoder", {"dtype": "float32"}, 0).dtype is np.float32


def test_weights_of_classes_are_by_number():
    """The keys of a file are words, the classes of the data are numbers."""
    forest = build_step("RandomForestClassifier", {"class_weight": {"0": 2.0, "1": 1, "2": 1}, "n_estimators": 2}, 0)
    assert forest.class_weight == {0: 2.0, 1: 1, 2: 1}
    forest.fit(X, Y)


def test_the_seed_goes_where_none_is_given():
    union = {"transformer_list": [["a", "PCA"], ["b", {"name": "PCA", "random_state": 3}], ["c", "StandardScaler"]]}
    built = build_step("FeatureUnion", union, 7)
    assert [built.get_params().get(f"{name}__random_state") for name in "abc"] == [7, 3, None]
    assert build_step("PCA", {"random_state": None}, 7).random_state == 7
    assert build_step("BaggingClassifier", {"estimator": "RandomForestClassifier"}, 7).estimator.random_state == 7


def test_the_same_file_gives_the_same_numbers():
    one, other = (build_step("RandomForestClassifier", {"n_estimators": 5}, 3).fit(X, Y) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_options_of_a_model_can_be_built():
    """What a section of a file holds goes into `build_step` as it is."""
    options = CATALOGUE["FeatureUnion"].options.model_validate({"transformer_list": [["a", {"name": "PCA", "tol": 1}]]})
    for arguments in (options.model_dump(), options.model_dump(mode="json")):
        assert build_step("FeatureUnion", arguments, 0).transformer_list[0][1].tol == 1


OF_TWO_TARGETS = {"MultiOutputClassifier", "ClassifierChain", "MultiOutputRegressor", "RegressorChain"}
OTHERWISE = {
    **{name: {"n_components": 1} for name in ("CCA", "PLSCanonical", "PLSSVD")},
    **{name: {"n_components": 2} for name in ("GaussianRandomProjection", "SparseRandomProjection")},
    **{name: {"hidden_layer_sizes": [4], "max_iter": 20} for name in ("MLPClassifier", "MLPRegressor")},
    "StackingRegressor": {"estimators": [["a", "Ridge"], ["b", "SVR"]]},
    "VotingRegressor": {"estimators": [["a", "Ridge"], ["b", "SVR"]]},
}


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("MultiTask")])
def test_fits_in_a_pipeline(name):
    options = {**required(name), **OTHERWISE.get(name, {})}
    targets = Y + 1  # some losses are for positive numbers only
    if name in OF_TWO_TARGETS:
        targets = np.stack([targets, targets], axis=1)
        options = {"estimator": "Ridge" if "Regressor" in name else "RidgeClassifier"}
    step = build_step(name, options, 0)
    scaler = build_step("MinMaxScaler", {"feature_range": [0, 1]}, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence: iris and defaults are not for each of them
        fitted = pipeline.Pipeline([("scale", scaler), ("step", step)]).fit(X, targets)
    assert fitted.n_features_in_ == 4


# ------------------------------------------------------------------------------------------------ describing


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_not_written(name):
    target = CATALOGUE[name].target
    given = required(name)
    if not given:
        assert describe_step(target()) == {"name": name}
    options = CATALOGUE[name].options.model_validate(given).model_dump()
    described = describe_step(build_step(name, options, 0))
    described.pop("random_state", None)
    assert set(described) == {"name", *given}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_built_from_defaults_is_the_class_by_itself(name):
    if required(name):
        return
    built, ours = CATALOGUE[name].target(), build_step(name, {}, 0)
    if "random_state" in ours.get_params():
        built.set_params(random_state=ours.random_state)
    assert parameters(ours) == parameters(built)


NESTED = ensemble.VotingClassifier(
    [
        ("bag", ensemble.BaggingClassifier(svm.SVC(C=2.0, random_state=1), random_state=1)),
        ("ada", ensemble.AdaBoostClassifier(linear_model.LogisticRegression(random_state=1), random_state=1)),
        ("none", "drop"),
    ],
    weights=[1, 2],
    voting="hard",
)


@pytest.mark.parametrize(
    "estimator",
    [
        NESTED,
        compose.ColumnTransformer(
            [
                ("a", preprocessing.MinMaxScaler((0, np.float64(2))), [0, np.int64(1)]),
                ("b", "passthrough", 2),
                ("c", Reshape((1, -1)), [True, False]),
            ],
            remainder=ChannelScaler("minmax"),
            transformer_weights={"a": 2.0},
        ),
        pipeline.FeatureUnion([("best", feature_selection.SelectKBest(feature_selection.f_regression, k=3))]),
        cluster.FeatureAgglomeration(pooling_func=np.max),
        cluster.Birch(n_clusters=cluster.KMeans(3, random_state=2)),
        MLPClassifier((np.int64(8), 4), random_state=0),
        preprocessing.OneHotEncoder(categories=[[0, 1], [2, 3]], dtype=np.int64),
        preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
        linear_model.RidgeCV(alphas=(1.0, 2.0)),
        linear_model.LassoCV(alphas=[0.1, 1.0], random_state=0),
        ensemble.RandomForestClassifier(class_weight={0: 1.0, 1: 3.0}, max_features=None, random_state=0),
        cluster.OPTICS(max_eps=np.inf),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_round_trip(estimator):
    described = describe_step(estimator)
    read = yaml.safe_load(yaml.safe_dump(described, sort_keys=False))
    assert repr(read) == repr(described)
    built = build_step(read.pop("name"), read, 99)
    assert repr(describe_step(built)) == repr(described)
    assert parameters(built) == parameters(estimator)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (GaussianProcessClassifier(kernels.RBF()), "The 'kernel' parameter of GaussianProcessClassifier cannot be"),
        (preprocessing.FunctionTransformer(np.log1p), "The 'func' parameter of FunctionTransformer cannot be"),
        (cluster.AgglomerativeClustering(memory="/tmp"), "The 'memory' parameter of AgglomerativeClustering cannot"),
        (feature_selection.SelectKBest(lambda X, y: X[0]), "The 'score_func' parameter of SelectKBest cannot be"),
        (ensemble.RandomForestClassifier(random_state=np.random.RandomState(0)), "The 'random_state' parameter of R"),
        (svm.SVC(C=-1), "The 'C' parameter of SVC cannot be written to a pipeline file. Got -1 instead"),
        (svm.SVC(kernel=np.dot), "The 'kernel' parameter of SVC cannot be"),
        (compose.ColumnTransformer([("a", "drop", slice(2))]), "The 'transformers' parameter of ColumnTransformer"),
        (ensemble.BaggingClassifier(svm.SVC(kernel=np.dot)), "The 'kernel' parameter of SVC cannot be"),
        (ensemble.BaggingClassifier(FrozenEstimator(svm.SVC())), "The step must be one that a pipeline file can name"),
        (pipeline.Pipeline([("a", svm.SVC())]), "The step must be one that a pipeline file can name. Got Pipeline"),
        (feature_selection.RFE(svm.SVC(), importance_getter="coef_"), "It must be 'auto'. Got 'coef_' instead"),
    ],
)
def test_what_no_file_can_say(estimator, message):
    with pytest.raises(ParameterError, match=message):
        describe_step(estimator)


def test_a_class_of_the_same_name_is_another_one():
    class PCA(base.BaseEstimator):
        pass

    with pytest.raises(ParameterError, match="must be one that a pipeline file can name"):
        describe_step(PCA())


# ------------------------------------------------------------------------------------------------ JSON Schema


SCHEMAS = {name: CATALOGUE[name].options.model_json_schema() for name in NAMES}


def test_schemas_are_small_and_strict_json():
    assert len(json.dumps(SCHEMAS, allow_nan=False)) < 1_000_000


def test_schemas_tell_types_and_limits():
    properties = SCHEMAS["PCA"]["properties"]
    assert properties["n_components"]["anyOf"] == [
        {"type": "integer", "minimum": 0},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"enum": ["mle"]},
        {"type": "null"},
    ]
    assert properties["whiten"]["type"] == "boolean"
    assert properties["svd_solver"]["enum"] == ["arpack", "auto", "covariance_eigh", "full", "randomized"]
    assert SCHEMAS["FeatureUnion"]["required"] == ["transformer_list"]


@pytest.mark.parametrize("name", NAMES)
def test_schemas_are_schemas(name):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    validator = jsonschema.Draft202012Validator(SCHEMAS[name])
    validator.validate(required(name))


def values(schema):
    """Return the values that a schema allows."""
    if "anyOf" in schema:
        return st.one_of(*map(values, schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    low, high = (schema.get(f"{word}imum", schema.get(f"exclusive{word.title()}imum")) for word in ("min", "max"))
    return {
        "boolean": lambda: st.booleans(),
        "null": lambda: st.none(),
        "integer": lambda: st.integers(schema.get("minimum", low if low is None else low + 1), schema.get("maximum")),
        "number": lambda: st.floats(
            low, high, exclude_min="exclusiveMinimum" in schema, exclude_max="exclusiveMaximum" in schema,
            allow_nan=False, allow_infinity=False,
        ),
    }[schema["type"]]()  # fmt: skip


SIMPLE = {"boolean", "null", "integer", "number"}


def is_simple(schema):
    """Return whether values of a schema are no lists, mappings or free texts."""
    return all("enum" in one or "const" in one or one.get("type") in SIMPLE for one in schema.get("anyOf", [schema]))


@st.composite
def steps(draw):
    """Return a name and options by the JSON Schema alone."""
    name = draw(st.sampled_from(NAMES))
    simple = {key: one for key, one in SCHEMAS[name]["properties"].items() if is_simple(one)}
    options = {key: draw(values(schema)) for key, schema in simple.items() if draw(st.booleans())}
    return name, {**required(name), **options}


@given(steps())
@settings(max_examples=300, deadline=None)
def test_what_the_schema_allows_is_built_and_written_back(step):
    name, options = step
    built = build_step(name, options, 5)
    described = describe_step(built)
    assert described.pop("name") == name
    assert parameters(build_step(name, described, 5)) == parameters(built)
    kept = {key for key in options if repr(options[key]) == repr(described.get(key))}
    defaults = CATALOGUE[name].options.model_fields
    assert all(
        key in ("random_state", *required(name)) or repr(options[key]) == repr(defaults[key].default)
        for key in options.keys() - kept
    )
