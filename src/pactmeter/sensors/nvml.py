"""NVIDIA GPUs: the ones that CUDA shows to the program, found by UUID, read through NVML.

A channel ``gpu<N>`` carries NVML's own index, which is the one that nvidia-smi prints. No GPU is
woken to be measured: where one sleeps, only those that are awake are touched.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any

from pactmeter.clock import now_s
from pactmeter.model.finding import Finding
from pactmeter.sensors import sysfs
from pactmeter.sensors.base import Discovery
from pactmeter.sensors.cuda_visible import visible
from pactmeter.sensors.nvml_gpu import (
    FIELD_POWER_AVERAGE,
    FIELD_POWER_INSTANT,
    FIXES,
    Gpu,
    GpuDevice,
    error_text,
    field_w,
    library,
    limit_w,
    usage_w,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pactmeter.sensors.base import Request

NAME = "nvml"

_TITLE = "NVIDIA GPU (NVML)"
_LIBRARY = "libnvidia-ml.so.1"
_EMULATED_DRIVER = "pactmeter-bench"


def discover(request: Request, *, clock: Callable[[], float] = now_s) -> Discovery:
    """Return one device for each GPU that the program sees, or why there is none."""
    buses = _pci_gpus()
    asleep = sorted(bus for bus, is_asleep in buses.items() if is_asleep)
    findings = [
        Finding("gpu", f"NVIDIA GPU {bus}", found=False, detail="suspended, it is not woken")
        for bus in asleep
    ]
    if buses and len(asleep) == len(buses):
        return Discovery(findings=tuple(findings))  # starting NVML could wake them
    if not _is_loadable():
        where = sysfs.root() / "bus" / "pci"
        detail = f"no NVIDIA GPU in {where} and no {_LIBRARY}"
        if buses:
            detail = f"{', '.join(buses)} in {where}, but {_LIBRARY} cannot be loaded"
        fix = "install the NVIDIA driver, or give the container the GPU" if buses else None
        return Discovery(findings=(*findings, _missing(detail, fix)))
    try:
        import pynvml
    except ImportError:
        fix = "pip install 'pactmeter[nvml]'"
        return Discovery(findings=(*findings, _missing("nvidia-ml-py is not installed", fix)))
    try:
        library.acquire()
    except pynvml.NVMLError as error:
        missing = _missing(
            f"NVML does not start: {error_text(error)}", FIXES.get(type(error).__name__)
        )
        return Discovery(findings=(*findings, missing))
    try:
        gpus = _find([bus for bus in buses if bus not in asleep] if asleep else None, findings)
        for _ in gpus:
            library.acquire()
    except pynvml.NVMLError as error:
        gpus = []
        findings.append(_missing(f"NVML does not list the GPUs: {error_text(error)}", None))
    finally:
        library.release()
    return Discovery(tuple(GpuDevice(gpu, clock) for gpu in gpus), tuple(findings))


def _missing(detail: str, fix: str | None) -> Finding:
    return Finding("gpu", _TITLE, found=False, detail=detail, fix=fix)


def _pci_gpus() -> dict[str, bool]:
    """Return the NVIDIA display devices on the PCI bus, and whether each is suspended."""
    found = {}
    for path in sorted((sysfs.root() / "bus" / "pci" / "devices").glob("*")):
        if sysfs.read_text(path / "vendor") != "0x10de":
            continue
        if (sysfs.read_text(path / "class") or "").startswith("0x03"):
            status = sysfs.read_text(path / "power" / "runtime_status")
            found[path.name] = status == "suspended"
    return found


def _is_loadable() -> bool:
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return False
    return True


def _find(buses: Sequence[str] | None, findings: list[Finding]) -> list[Gpu]:
    """Return the visible GPUs; by bus where only those may be touched. Raises `NVMLError`."""
    import pynvml

    count = int(pynvml.nvmlDeviceGetCount())
    handles: dict[int, object] = {}
    uuids: dict[int, str] = {}
    for place in range(count) if buses is None else buses:
        try:
            if isinstance(place, int):
                index, handle = place, pynvml.nvmlDeviceGetHandleByIndex(place)
            else:
                handle = pynvml.nvmlDeviceGetHandleByPciBusId(place)
                index = int(pynvml.nvmlDeviceGetIndex(handle))
            uuids[index] = pynvml.nvmlDeviceGetUUID(handle)
            handles[index] = handle
        except pynvml.NVMLError as error:
            findings.append(_missing(f"GPU {place}: {error_text(error)}", None))
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    seen = visible(setting, uuids, count, _parent_uuid)
    if seen.invalid is not None:
        detail = f"CUDA_VISIBLE_DEVICES: {seen.invalid!r} is no GPU, what follows is not visible"
        findings.append(_missing(detail, None))
    gpus: list[Gpu] = []
    for index in sorted(seen.whole | seen.partitioned):
        try:
            gpu = _probe(index, uuids[index], handles[index], whole=index in seen.whole)
        except pynvml.NVMLError as error:
            findings.append(_missing(f"GPU {index}: {error_text(error)}", None))
            continue
        if gpu.counts_energy or gpu.has_power:
            gpus.append(gpu)
            detail = f"gpu{index}, {gpu.product}, {gpu.uuid}"
            findings.append(Finding("gpu", _TITLE, found=True, detail=detail))
        else:
            findings.append(_missing(f"GPU {index} ({gpu.product}) gives no power", None))
    if seen.by_index and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID" and count > 1:
        _warn_of_order(handles.values(), findings)
    if not gpus:
        detail = f"none of {count} GPUs can be measured (CUDA_VISIBLE_DEVICES={setting!r})"
        findings.append(_missing(detail, None))
    return gpus


def _warn_of_order(handles: Iterable[object], findings: list[Finding]) -> None:
    """Tell that indices may mean other GPUs to CUDA, which by default puts the fastest first."""
    import pynvml

    if len({pynvml.nvmlDeviceGetName(handle) for handle in handles}) > 1:
        detail = "CUDA_VISIBLE_DEVICES names unlike GPUs by index; taken in the order of the bus"
        fix = "export CUDA_DEVICE_ORDER=PCI_BUS_ID, or name them by UUID"
        findings.append(Finding("gpu", _TITLE, found=True, detail=detail, fix=fix))


def _parent_uuid(slice_uuid: str) -> str | None:
    """Return the UUID of the GPU that a MIG slice is part of; None if NVML knows none."""
    import pynvml

    if slice_uuid.startswith("MIG-GPU-"):  # drivers before R470: MIG-GPU-<uuid>/<gi>/<ci>
        return slice_uuid.removeprefix("MIG-").partition("/")[0]
    try:
        handle = pynvml.nvmlDeviceGetHandleByUUID(slice_uuid)
        parent = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
        return str(pynvml.nvmlDeviceGetUUID(parent))
    except pynvml.NVMLError:
        return None


def _probe(index: int, uuid: str, handle: object, *, whole: bool) -> Gpu:
    """Return what one GPU can tell. Raises `NVMLError` for a GPU that does not answer at all."""
    import pynvml

    absent = {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_INVALID_ARGUMENT,
    }

    def answer(function: Callable[..., Any], *arguments: object) -> Any:
        try:
            return function(handle, *arguments)
        except pynvml.NVMLError as error:
            if error.value in absent:
                return None
            raise

    driver = str(pynvml.nvmlSystemGetDriverVersion())
    fields = (FIELD_POWER_INSTANT, FIELD_POWER_AVERAGE)
    return Gpu(
        index=index,
        uuid=uuid,
        product=str(pynvml.nvmlDeviceGetName(handle)),
        generation=answer(pynvml.nvmlDeviceGetCudaComputeCapability),
        counts_energy=answer(pynvml.nvmlDeviceGetTotalEnergyConsumption) is not None,
        has_power=answer(usage_w) is not None,
        fields=tuple(field for field in fields if answer(field_w, field) is not None),
        limit_w=answer(limit_w),
        is_partitioned=not whole,
        synthetic="emulated" if _EMULATED_DRIVER in driver else None,
    )
