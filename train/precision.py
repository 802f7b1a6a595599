"""Precision of student and teacher, from flags and device."""

import torch

DTYPES = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(amp: str, device: torch.device) -> str:
    """Return Accelerate's name for the precision of `--amp`: "no", "bf16" or "fp16".

    Raises:
        ValueError: fp16 on a CPU.
    """
    _check("--amp", amp, device)
    if amp == "auto":
        # Older GPUs emulate bf16, which is slower than float32; so do CPUs without AMX.
        native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        amp = "bf16" if native else "none"
    return "no" if amp == "none" else amp


def resolve_teacher_precision(amp: str, device: torch.device) -> torch.dtype | None:
    """Return the dtype of `--teacher-amp`; None for that of the student.

    Raises:
        ValueError: fp16 on a CPU.
    """
    _check("--teacher-amp", amp, device)
    return None if amp == "auto" else DTYPES[amp]


def _check(flag: str, amp: str, device: torch.device) -> None:
    if amp == "fp16" and device.type == "cpu":
        raise ValueError(f"{flag} fp16 needs a GPU; use {flag} bf16 or none on a CPU")
