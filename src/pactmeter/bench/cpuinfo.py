"""What /proc/cpuinfo says of the emulated processors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Processor:
    """A kind of processor.

    Attributes:
        vendor_id: Maker as CPUID tells it.
        family: CPU family.
        model: Model in the family.
        stepping: Stepping of the model.
        name: Name in reports; says that there is no such processor.
        mhz: Clock rate, in megahertz.
        flags: Features; none says that the machine is a virtual one.
    """

    vendor_id: str
    family: int
    model: int
    stepping: int
    name: str
    mhz: int
    flags: str


_COMMON_FLAGS = (
    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse "
    "sse2 ht syscall nx pdpe1gb rdtscp lm constant_tsc rep_good nopl nonstop_tsc cpuid aperfmperf "
    "pni pclmulqdq monitor ssse3 fma cx16 sse4_1 sse4_2 x2apic movbe popcnt aes xsave avx f16c "
    "rdrand lahf_lm abm bmi1 avx2 smep bmi2 erms rdseed adx smap clflushopt clwb sha_ni"
)
PROCESSORS = {
    "intel": Processor(  # Sapphire Rapids
        "GenuineIntel",
        6,
        143,
        8,
        "Intel(R) Xeon(R) pactmeter-bench",
        2000,
        f"{_COMMON_FLAGS} dts acpi ss tm pbe pebs bts dtes64 ds_cpl vmx est tm2 avx512f amx_tile",
    ),
    "amd": Processor(  # Zen 3
        "AuthenticAMD",
        25,
        1,
        1,
        "AMD EPYC pactmeter-bench",
        2450,
        f"{_COMMON_FLAGS} mmxext fxsr_opt cmp_legacy svm extapic cr8_legacy sse4a perfctr_core "
        "rapl topoext hw_pstate",
    ),
}
"""The processors there are, by vendor."""


def text(vendor: str, cpus: int, packages: int = 1) -> str:
    """Return the whole file.

    Args:
        vendor: A key of `PROCESSORS`.
        cpus: Number of CPUs, which is that of the real machine: threads are spread over those.
        packages: Sockets; the CPUs are dealt out to them in turn.
    """
    kind = PROCESSORS[vendor]
    blocks = []
    for cpu in range(cpus):
        package, core = cpu % packages, cpu // packages
        # A socket for which no CPU is left shows none.
        cores = len(range(package, cpus, packages))
        fields = {
            "processor": cpu,
            "vendor_id": kind.vendor_id,
            "cpu family": kind.family,
            "model": kind.model,
            "model name": kind.name,
            "stepping": kind.stepping,
            "cpu MHz": f"{kind.mhz}.000",
            "cache size": "2048 KB",
            "physical id": package,
            "siblings": cores,
            "core id": core,
            "cpu cores": cores,
            "apicid": cpu,
            "initial apicid": cpu,
            "fpu": "yes",
            "fpu_exception": "yes",
            "cpuid level": 32,
            "wp": "yes",
            "flags": kind.flags,
            "bugs": "",
            "bogomips": f"{2 * kind.mhz}.00",
            "clflush size": 64,
            "cache_alignment": 64,
            "address sizes": "46 bits physical, 57 bits virtual",
            "power management": "",
        }
        lines = [f"{key}{_tabs(key)}: {value}".rstrip(" ") for key, value in fields.items()]
        blocks.append("\n".join(lines) + "\n\n")
    return "".join(blocks)


def _tabs(key: str) -> str:
    """Return the tabs after a key, as the kernel sets them: to column 16."""
    return "\t" * max(1, 2 - len(key) // 8) if key != "power management" else ""
