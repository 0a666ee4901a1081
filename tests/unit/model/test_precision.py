"""What `precision: auto` is on each kind of machine."""

import pytest

from deployments.common.settings import Device, Precision
from deployments.model.precision import choose_precision, parse_cpu_flags

AMX = """processor\t: 0
vendor_id\t: GenuineIntel
flags\t\t: fpu avx512f amx_bf16 avx512_bf16 amx_tile

processor\t: 1
flags\t\t: fpu
"""
AVX2 = "processor\t: 0\nflags\t\t: fpu avx2 fma\nbugs\t\t: spectre_v1\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\n"


@pytest.mark.parametrize(
    ("device", "flags", "expected"),
    [
        ("cpu", {"avx2", "amx_bf16"}, "bf16"),
        ("cpu", {"avx2", "avx512_bf16"}, "bf16"),
        ("cpu", {"avx2", "avx512f", "amx_tile", "amx_int8"}, "fp32"),
        ("cpu", set(), "fp32"),
        ("cuda", {"amx_bf16"}, "fp16"),
        ("cuda", set(), "fp16"),
    ],
)
def test_auto_is_what_the_device_computes_natively(
    device: Device, flags: set[str], expected: Precision
) -> None:
    assert choose_precision(device, "auto", flags) == expected


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_what_is_asked_for_is_kept(precision: Precision) -> None:
    assert choose_precision("cpu", precision, {"amx_bf16"}) == precision
    assert choose_precision("cuda", precision, set()) == precision


def test_a_stand_in_on_a_gpu_takes_fp16_for_bf16() -> None:
    assert choose_precision("cuda", "bf16", set(), is_stand_in=True) == "fp16"
    assert choose_precision("cuda", "fp32", set(), is_stand_in=True) == "fp32"
    assert choose_precision("cpu", "bf16", {"amx_bf16"}, is_stand_in=True) == "bf16"


@pytest.mark.parametrize(("cpuinfo", "expected"), [(AMX, "bf16"), (AVX2, "fp32"), (ARM, "fp32")])
def test_the_flags_are_those_that_linux_lists(cpuinfo: str, expected: Precision) -> None:
    assert choose_precision("cpu", "auto", parse_cpu_flags(cpuinfo)) == expected
