"""Exporters as the last steps of scikit-learn pipelines."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_estimator_cloneable,
    check_estimator_repr,
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
)

from prunekit import OnnxExporter, ProgramExporter
from prunekit.exceptions import ParameterTypeError
from tests.export.conftest import assert_close, evaluated, rerun
from tests.nets import PlainCNN
from tests.nets_skorch import TwoInputs, make_classifier, make_table, quick

EXPORTERS = {"net.onnx": OnnxExporter, "net.pt2": ProgramExporter}

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture
def exporter(name):
    return EXPORTERS[name]


def test_a_pipeline(exporter, name, table, tmp_path):
    pipeline = Pipeline(
        [
            ("scale", StandardScaler()),
            ("prune", quick(make_classifier(max_epochs=2))),
            ("export", exporter(tmp_path / name)),
        ]
    ).fit(*table)

    step, scaled = pipeline[-1], pipeline[0].transform(table[0])
    assert step.path_ == tmp_path / name
    assert step.report_.dynamic_batch
    assert pipeline.transform(table[0]) == step.path_
    found = step.run(scaled)
    assert found.argmax(1).tolist() == pipeline[:-1].predict(table[0]).tolist()
    batch = torch.from_numpy(scaled[:9])
    assert_close(rerun(step.path_, batch), [found[:9]])
    assert_close([found[:9]], evaluated(pipeline["prune"].estimator_.module_, batch))
    assert not hasattr(pipeline, "predict")


def test_an_exporter_travels(exporter, name, dense, table, tmp_path):
    step = exporter(tmp_path / name, example_inputs=table[0][:5]).fit(dense)
    assert step.report_.batch_sizes == (5, 1, 3)
    back = pickle.loads(pickle.dumps(step))
    assert np.array_equal(back.run(table[0][:7]), step.run(table[0][:7]))
    assert not hasattr(clone(step), "report_")
    assert clone(step).get_params()["path"] == tmp_path / name


def test_a_pipeline_is_searchable(table, tmp_path):
    pipeline = make_pipeline(quick(FrozenEstimator(make_classifier())), OnnxExporter())
    pipeline.set_params(onnxexporter__path=tmp_path / "net.onnx", onnxexporter__slim=True)
    assert clone(pipeline).get_params()["onnxexporter__slim"]
    with pytest.raises(ParameterTypeError, match=r"'path' parameter of OnnxExporter must be a path. Got None"):
        OnnxExporter().fit(PlainCNN())


def test_named_inputs_and_outputs(exporter, name, tmp_path):
    X, y = make_table(60)
    data = {"first": X[:, :10], "second": X[:, 10:]}
    net = make_classifier(TwoInputs, max_epochs=1).fit(data, y)
    step = exporter(tmp_path / name, example_inputs=data).fit(net)
    assert step.run(data).shape == (60, 2)

    class Two(PlainCNN):
        def forward(self, x):
            return {"classes": super().forward(x), "mean": x.mean((1, 2, 3))}

    step = exporter(tmp_path / name, example_inputs=torch.randn(2, 3, 8, 8)).fit(Two())
    assert {name: array.shape for name, array in step.run(np.zeros((4, 3, 8, 8), np.float32)).items()} == {
        "classes": (4, 4),
        "mean": (4,),
    }


def test_data_in_the_place_of_networks(exporter, dense, table, tmp_path, name):
    step = exporter(tmp_path / name, example_inputs=table[0])
    with pytest.raises(ParameterTypeError, match="must be fitted with a network, such as the step before"):
        step.fit(table[0], table[1])
    for call in (step.transform, step.run):
        with pytest.raises(NotFittedError):
            call(table[0])
    with pytest.raises(ParameterTypeError, match=r"must hold data. Got NeuralNetClassifier instead: .*pipeline\[-1\]"):
        step.fit(dense).run(dense)


@pytest.mark.parametrize(
    "check",
    [
        check_parameters_default_constructible,
        check_no_attributes_set_in_init,
        check_get_params_invariance,
        check_set_params,
        check_estimator_cloneable,
        check_estimator_repr,
    ],
)
def test_scikit_learns_checks_of_parameters(check, exporter):
    check(exporter.__name__, exporter())
