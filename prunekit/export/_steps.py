"""Export as the last step of a scikit-learn pipeline."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from prunekit.analysis._examples import is_net
from prunekit.exceptions import ParameterTypeError
from prunekit.export._onnx import export_onnx, onnx_runner
from prunekit.export._program import export_program, program_runner
from prunekit.export._quiet import quiet, require
from prunekit.export._report import ExportReport
from prunekit.export._shipping import RTOL, Runner
from prunekit.export._subject import user_inputs


class _Exporter(BaseEstimator, ABC):
    """What all last steps have in common; parameters are those of the function that exports."""

    path: str | Path | None
    example_inputs: Any
    path_: Path
    report_: ExportReport

    def fit(self, X: Any, y: Any = None) -> Self:
        """
        Export a network, run the file again and compare.

        Parameters
        ----------
        X : fitted skorch net, Module, fitted TaylorPruner or PrunableNetwork
            The network; in a pipeline the pruned net, which the step before hands on.
        y : object, default=None
            Not used; a pipeline gives it.

        Returns
        -------
        self
            The fitted step.
        """
        owner = type(self).__name__
        if self.path is None:
            raise ParameterTypeError(f"The 'path' parameter of {owner} must be a path. Got None instead.")
        if isinstance(X, np.ndarray | list) or hasattr(X, "iloc"):
            raise ParameterTypeError(
                f"{owner} must be fitted with a network, such as the step before it in a pipeline hands on if that is "
                f"a TaylorPruner. Got {type(X).__name__} instead."
            )
        self.report_ = self._export(X, self.path)
        self.path_ = self.report_.path
        return self

    def transform(self, X: Any = None) -> Path:
        """
        Return the file.

        Parameters
        ----------
        X : object, default=None
            Not used; a pipeline gives it.

        Returns
        -------
        Path
            ``path_``.
        """
        check_is_fitted(self, "report_")
        return self.path_

    def run(self, X: Any) -> NDArray[Any] | dict[str, NDArray[Any]]:
        """
        Run the file, which is loaded each time.

        Parameters
        ----------
        X : array, Tensor, tuple or Mapping
            A batch as the network takes it: the data, not the net. In a pipeline, what the steps before the pruner
            made of them.

        Returns
        -------
        ndarray or dict of str to ndarray
            What the network returns; for classifiers that is what it was trained on, such as logits. Several outputs
            come by their names.
        """
        check_is_fitted(self, "report_")
        if isinstance(X, nn.Module) or is_net(X):
            raise ParameterTypeError(
                f"The 'X' parameter of run must hold data. Got {type(X).__name__} instead: the steps before this one "
                "make a network of their data, so call pipeline[-1].run(X)."
            )
        carrier = nn.Module()  # has no parameters, so that data keep their type
        inputs = user_inputs(X, carrier, "run")
        with quiet():
            found = self._open()(inputs)
        outputs = {name: tensor.cpu().numpy() for name, tensor in zip(self.report_.output_names, found, strict=True)}
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    @abstractmethod
    def _export(self, network: Any, path: str | Path) -> ExportReport:
        """Write the file."""

    @abstractmethod
    def _open(self) -> Runner:
        """Return what runs the file."""


class OnnxExporter(_Exporter):
    """
    Write the network that the step before has pruned as an ONNX file, run that and compare, as `export_onnx` does.

    Parameters
    ----------
    path : str or Path, default=None
        File to write. It must be given before ``fit``.
    example_inputs : Tensor, array, tuple or Mapping, default=None
        Inputs to capture the network with and to compare on. None: inputs are made up in the shapes that the pruned
        network carries.
    dynamic_batch : bool, default=True
        Whether the file takes batches of any size.
    opset : int, default=None
        Version of ONNX's operators. None: the newest that PyTorch writes by itself.
    slim : bool, default=False
        Whether onnxslim simplifies the graph.
    rtol : float, default=1e-5
        Largest difference allowed, relative to the largest output.

    Attributes
    ----------
    path_ : Path
        The file.
    report_ : ExportReport
        Its size, its names and the largest difference.

    See Also
    --------
    ProgramExporter : The same for `export_program`.

    Notes
    -----
    `TaylorPruner` hands a network on, not data. So ``pipeline.predict`` is not there; ``pipeline[-1].run(X)`` runs the
    file, and ``pipeline[:-1].predict`` is that of the pruner.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from prunekit import OnnxExporter, TaylorPruner
    >>> def pipeline_of(net):
    ...     return make_pipeline(TaylorPruner(net, target_reduction=0.6), OnnxExporter("net.onnx"))
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        example_inputs: Any = None,
        dynamic_batch: bool = True,
        opset: int | None = None,
        slim: bool = False,
        rtol: float = RTOL,
    ) -> None:
        self.path = path
        self.example_inputs = example_inputs
        self.dynamic_batch = dynamic_batch
        self.opset = opset
        self.slim = slim
        self.rtol = rtol

    def _export(self, network: Any, path: str | Path) -> ExportReport:
        return export_onnx(
            network,
            path,
            self.example_inputs,
            dynamic_batch=self.dynamic_batch,
            opset=self.opset,
            slim=self.slim,
            rtol=self.rtol,
        )

    def _open(self) -> Runner:
        require(("onnxruntime",), "onnx", "OnnxExporter.run")
        return onnx_runner(self.path_)


class ProgramExporter(_Exporter):
    """
    Write the network that the step before has pruned as a program of ``torch.export``, as `export_program` does.

    Parameters
    ----------
    path : str or Path, default=None
        File to write. It must be given before ``fit``.
    example_inputs : Tensor, array, tuple or Mapping, default=None
        Inputs to capture the network with and to compare on. None: inputs are made up in the shapes that the pruned
        network carries.
    dynamic_batch : bool, default=True
        Whether the file takes batches of any size.
    rtol : float, default=1e-5
        Largest difference allowed, relative to the largest output.

    Attributes
    ----------
    path_ : Path
        The file.
    report_ : ExportReport
        Its size, its names and the largest difference.

    See Also
    --------
    OnnxExporter : The same for `export_onnx`.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        example_inputs: Any = None,
        dynamic_batch: bool = True,
        rtol: float = RTOL,
    ) -> None:
        self.path = path
        self.example_inputs = example_inputs
        self.dynamic_batch = dynamic_batch
        self.rtol = rtol

    def _export(self, network: Any, path: str | Path) -> ExportReport:
        return export_program(network, path, self.example_inputs, dynamic_batch=self.dynamic_batch, rtol=self.rtol)

    def _open(self) -> Runner:
        return program_runner(self.path_)
