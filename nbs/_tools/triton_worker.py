"""Triton kernels on a machine without a graphics card, for tests: interpreted, or compiled for a card without running.

Triton decides at its first import whether it interprets, so each way has a Python process of its own."""
from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile

LOOP = """
import contextlib, io, json, sys, traceback
names = {}
for line in sys.stdin:
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out): exec(json.loads(line), names)
        error = ""
    except BaseException: error = traceback.format_exc()
    print(json.dumps([out.getvalue(), error]), flush=True)
"""

PREPARE = '''
import contextlib, io, math, re, warnings, torch
from hypothesis import Phase, given, settings, strategies as st
from sae_nb import kernels
from sae_nb.kernels import *
warnings.simplefilter("ignore")
torch.use_deterministic_algorithms(True, warn_only=True)  # what torch.empty returns is NaN, and shows if left over
few = settings(max_examples=8, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
seeds = st.integers(0, 2 ** 20)
kinds = st.sampled_from([torch.float32, torch.bfloat16, torch.float16])

def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)

def close(got, want, relative=1e-6):
    "Equal to `relative` of the largest number, or to the last bit of a short type (the interpreter cuts bfloat16 off)"
    assert got.shape == want.shape, (got.shape, want.shape)
    bit = {torch.bfloat16: 2 ** -7, torch.float16: 2 ** -10}.get(got.dtype, 0)
    if got.numel():
        error, size = (got.double() - want.double()).abs().max(), want.double().abs().max()
        assert error <= max(relative, bit) * size, (error, size)
'''

INTERPRET = """
from triton.runtime.interpreter import InterpretedFunction
# Inside our kernels the language is interpreted already; patching it again would take half of the time
original_call = InterpretedFunction.__call__
InterpretedFunction.__call__ = lambda self, *arguments, **options: (
    self.rewrite() if self.fn.__module__.startswith("sae_nb") else original_call.__get__(self))(*arguments, **options)
kernels.use("triton")
"""

COMPILE = '''
import triton
from triton.backends.compiler import GPUTarget

class Card:
    "What the compiler asks a driver, answered for an H100"
    get_current_target = lambda self: GPUTarget("cuda", 90, 32)
    get_current_device = lambda self: 0
    get_current_stream = lambda self, device: 0

class Compiled:
    "A kernel whose launch compiles it as a card would get it, and notes what it needs"
    jit = staticmethod(kernels._compiled)
    def __init__(self, kernel): self.kernel = kernel
    def __getitem__(self, grid):
        def launch(*arguments, **options):
            with contextlib.redirect_stdout(io.StringIO()) as log:
                made = self.jit(self.kernel).warmup(*arguments, grid=grid, **options)
            if used := re.search(r"Used (\\d+) registers", log.getvalue()):  # else it had been compiled before
                spilled = re.search(r"(\\d+) bytes spill stores", log.getvalue())
                kinds = [str(x.dtype).removeprefix("torch.") for x in arguments[:1]]
                compiled.append((self.kernel.__name__, *kinds, options["num_warps"], int(used[1]), int(spilled[1]),
                                 made.metadata.shared))
        return launch

triton.knobs.nvidia.dump_ptxas_log = True
triton.runtime.driver.set_active(Card())
kernels._compiled, compiled = Compiled, []
'''


class Worker:
    "A Python process that runs pieces of code, one after the other, with kernels interpreted or only compiled"

    def __init__(self, interpret: bool) -> None:
        self.process, self.installed = None, importlib.util.find_spec("triton") is not None
        if self.installed:
            self.cache = tempfile.TemporaryDirectory()
            chosen = {"TRITON_INTERPRET": "1" if interpret else "0", "TRITON_CACHE_DIR": self.cache.name}
            self.process = subprocess.Popen(
                [sys.executable, "-c", LOOP], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env=os.environ | chosen | {"OMP_NUM_THREADS": "1"})
            self(PREPARE + (INTERPRET if interpret else COMPILE))

    def __call__(self, code: str) -> None:
        "Run `code`, show what it prints, and fail as it fails; without Triton say that nothing was done"
        if self.process is None:
            print("Triton is not installed: this test was skipped")
            return
        print(json.dumps(code), file=self.process.stdin, flush=True)
        printed, error = json.loads(self.process.stdout.readline() or '["", "the process ended"]')
        print(printed, end="")
        if error:
            raise AssertionError(error)

    def close(self) -> None:
        "End the process"
        if self.process:
            self.process.communicate()
            self.cache.cleanup()
