"""What an experiment computes with: threads, a device, and workers on this machine or a cluster."""

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any, Literal, Self

import joblib
import torch
from pydantic import Field, model_validator

from prunekit.exceptions import ParameterError
from prunekit.pipeline._section import DEVICE, PositiveInt, Section, key_error

Device = Annotated[str, Field(pattern=DEVICE)]
_CLUSTERS = ("dask", "ray")


class ComputeSection(Section):
    """
    What the run computes with.

    None of it changes what comes out, but for the rounding errors of another device or another number of threads.

    Parameters
    ----------
    threads : int, default=None
        Threads of torch, in every process. None: as many as torch takes by itself.
    n_jobs : int, default=None
        Fits at once, of a search or of ``TaylorPrunerCV``; -1: as many as there are cores.
    backend : {"loky", "dask", "ray"}, default="loky"
        Who computes them: processes of this machine, or workers of a cluster.
    address : str, default=None
        Of the cluster's scheduler, as in ``tcp://10.0.0.1:8786``. None: workers are started on this machine.
    device : str, default="cpu"
        Where nets are trained: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto`` for a GPU if there is one.
    memory : bool, default=False
        Whether the fits of a search share what they have in common, such as the training before pruning.
    """

    threads: PositiveInt | None = None
    n_jobs: Annotated[int, Field(ge=-1, le=1024)] | None = None
    backend: Literal["loky", "dask", "ray"] = "loky"
    address: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    device: Device = "cpu"
    memory: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.n_jobs == 0:
            raise key_error("no_jobs", "n_jobs", 0)
        if self.address is not None and self.backend not in _CLUSTERS:
            raise key_error("address_of_nothing", "address", self.address, backend=self.backend)
        return self


def device_of(name: str) -> str:
    """
    Return the device that a file names.

    Parameters
    ----------
    name : str
        As `ComputeSection` has it.

    Returns
    -------
    str
        For torch.

    Raises
    ------
    ParameterError
        If this machine has no such device.
    """
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    kind, _, index = name.partition(":")
    number = {"cuda": torch.cuda.device_count(), "mps": int(has_mps), "cpu": 1}[kind]
    if int(index or 0) >= number:
        raise ParameterError(
            f"The 'device' key must be a device of this machine, which has {number} of the kind '{kind}'. Got {name!r} "
            "instead. Write 'auto' for a GPU if there is one, or give --set compute.device=cpu."
        )
    return name


@contextmanager
def computing(section: ComputeSection) -> Iterator[None]:
    """
    Compute as a file says inside of the block.

    Parameters
    ----------
    section : ComputeSection
        Threads and workers.

    Yields
    ------
    None
        Afterwards the number of threads is as before, and workers that were started are gone.

    Raises
    ------
    ParameterError
        If a package is missing, or a cluster cannot be reached.
    """
    with ExitStack() as stack:
        stack.enter_context(_threads(section.threads))
        if section.backend == "dask":
            stack.enter_context(_dask(section))
        elif section.backend == "ray":
            stack.enter_context(_ray(section))
        elif section.n_jobs is not None:
            stack.enter_context(
                joblib.parallel_config("loky", n_jobs=section.n_jobs, inner_max_num_threads=section.threads)
            )
        yield


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Let torch compute with a number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _workers(section: ComputeSection) -> int:
    """Return how many workers are started on this machine."""
    n_jobs = section.n_jobs or -1
    return joblib.cpu_count() if n_jobs < 0 else n_jobs


@contextmanager
def _dask(section: ComputeSection) -> Iterator[None]:
    distributed = _required("distributed", section)
    dask = _required("dask", section)
    # Dask's own setting lets the allocator give every large tensor back at once, which costs half of the time.
    environment = {"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**30}
    options: dict[str, Any] = {"n_workers": _workers(section), "threads_per_worker": 1}
    options["dashboard_address"] = "127.0.0.1:0"  # any port, and for nobody on other machines
    options["silence_logs"] = logging.ERROR  # of workers that are slow to end
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(environment))
        try:
            client = distributed.Client(section.address, timeout=20) if section.address else None
        except (OSError, ValueError) as exc:
            raise _unreachable(section, exc) from exc
        if client is None:
            cluster = stack.enter_context(distributed.LocalCluster(**options))
            client = distributed.Client(cluster)
        stack.enter_context(client)
        number = _fewer_threads(client, section.threads)
        stack.enter_context(joblib.parallel_config("dask", n_jobs=section.n_jobs or number or -1))
        yield


def _fewer_threads(client: Any, threads: int | None) -> int:
    """Let torch compute with a number of threads in every worker; return how many workers there are."""
    if threads is not None:
        client.run(torch.set_num_threads, threads)
    return len(client.scheduler_info(n_workers=-1)["workers"])


@contextmanager
def _ray(section: ComputeSection) -> Iterator[None]:
    ray = _required("ray", section)
    joblib_of_ray = importlib.import_module("ray.util.joblib")
    is_ours = not ray.is_initialized()
    if is_ours:
        where = {"address": section.address} if section.address else {"num_cpus": _workers(section)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions to come
            try:
                ray.init(**where, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            except (OSError, ValueError, RuntimeError) as exc:
                raise _unreachable(section, exc) from exc
    try:
        joblib_of_ray.register_ray()
        with joblib.parallel_config("ray", n_jobs=section.n_jobs or -1):
            yield
    finally:
        if is_ours:
            ray.shutdown()


def _required(package: str, section: ComputeSection) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as exc:
        raise ParameterError(
            f"The 'backend' key of compute must be one whose package is installed. Got {section.backend!r} without "
            f"{package} instead: pip install 'prunekit[{section.backend}]'."
        ) from exc


def _unreachable(section: ComputeSection, exc: Exception) -> ParameterError:
    where = section.address or "this machine"
    return ParameterError(
        f"The 'address' key of compute must be that of a {section.backend} cluster that runs. Got {where} instead: "
        f"{type(exc).__name__}: {str(exc).rstrip('.')}."
    )
