"""Precision of student and teacher, from flags and device."""

import torch

from command_line.notes import note

DTYPES = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(amp: str, device: torch.device) -> str:
    """Return Accelerate's name for the precision of `--amp`: "no", "bf16" or "fp16".

    A note warns of bf16 where it is emulated.

    Raises:
        ValueError: fp16 on a CPU.
    """
    _check("--amp", amp, device)
    if amp == "auto":
        amp = "bf16" if device.type == "cuda" and has_bf16(device) else "none"
    return "no" if amp == "none" else amp


def resolve_teacher_precision(amp: str, device: torch.device) -> torch.dtype | None:
    """Return the dtype of `--teacher-amp`; None for that of the student.

    Raises:
        ValueError: fp16 on a CPU.
    """
    _check("--teacher-amp", amp, device)
    return None if amp == "auto" else DTYPES[amp]


def has_bf16(device: torch.device) -> bool:
    """Whether a device computes in bf16 itself; without that, bf16 is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and torch.backends.mkldnn.is_available():
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # oneDNN needs AVX-512 or AMX
    return True  # not known


def _check(flag: str, amp: str, device: torch.device) -> None:
    if amp == "fp16" and device.type == "cpu":
        raise ValueError(f"{flag} fp16 needs a GPU; use {flag} bf16 or none on a CPU")
    if amp == "bf16" and not has_bf16(device):
        note(
            f"{flag} bf16: this processor only emulates bf16, many times slower than float32; "
            f"{flag} none avoids that"
        )
