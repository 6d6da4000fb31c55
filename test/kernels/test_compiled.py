"""Kernels are compiled for real devices, which needs none."""

import json
import subprocess
import sys

import pytest

pytest.importorskip('triton', reason='the kernels are written in Triton')

# In a process of its own: here Triton may be set to run kernels in Python.
PROGRAM = """
import json
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from torch_geometric_autoscale.kernels import rows_triton, spmm_triton


def compiled(kernel, types, constants, **options):
    names = kernel.arg_names[: len(types)]
    signature = {**dict(zip(names, types)), **{name: 'constexpr' for name in constants}}
    source = ASTSource(kernel, signature=signature, constexprs=constants)
    made = triton.compile(source, target=GPUTarget('cuda', 90, 32), options=options)
    assert len(made.asm['cubin']) > 0
    return made.asm['ptx']


def move(table, rows, wide=False):
    codes = table == 'i8'
    scale = '*fp32' if codes else f'*{table}'
    same = {'CODES': codes, 'WIDE': wide, 'ROWS': 8, 'COLUMNS': 256}
    gathered = compiled(
        rows_triton.gather, [f'*{table}', scale, '*i64', f'*{rows}', *['i32'] * 6],
        {'FROM_BITS': table == 'i16', 'TO_BITS': rows == 'i16', **same}, enable_fp_fusion=False,
    )
    scattered = compiled(
        rows_triton.scatter, [f'*{rows}', f'*{table}', scale, '*i64', *['i32'] * 6],
        {'FROM_BITS': rows == 'i16', 'TO_BITS': table == 'i16', **same}, enable_fp_fusion=False,
    )
    return gathered, scattered


found = {}
for table, rows in [('fp16', 'i16'), ('i8', 'fp32')]:
    found[table] = move(table, rows)
move('fp64', 'fp64', wide=True)
compiled(
    spmm_triton.multiply, ['*i32', '*i32', *['*fp32'] * 3, *['i32'] * 4],
    {'HAS_VALUES': True, 'MEAN': True, 'WIDE': False, 'EDGES': 8, 'COLUMNS': 128},
)
text = ' '.join(found['i8'])
print(json.dumps({
    'fused': 'fma.' in text, 'exact': 'div.rn.f32' in text, 'approximate': 'div.full' in text,
}))
"""


def test_every_kernel_compiles_and_rounds_each_step_by_itself(tmp_path, monkeypatch):
    monkeypatch.delenv('TRITON_INTERPRET', raising=False)
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    done = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.strip().split('\n')[-1])
    # A sum and a product rounded as one would give other codes than the history's encodings.
    assert found == {'fused': False, 'exact': True, 'approximate': False}
