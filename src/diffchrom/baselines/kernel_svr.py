"""Epsilon support vector regression on a kernel matrix that all folds and penalties share.

LIBSVM (scikit-learn) computes the kernel again for every fit; over 160 bins, four C and five folds that is
most of its time. `_svr.c`, built where there is a C compiler, solves the same problem to the same tolerance
on one matrix, genes of the held-out fold staying in place with C = 0. Elsewhere scikit-learn serves.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from diffchrom.baselines.method import Matrix, Vector
from diffchrom.genome.genes import Signal
from diffchrom.processes.compiled import Extension, declare

#: Of the optimality conditions, in units of the standardised label; LIBSVM's default.
TOLERANCE = 1e-3
#: Half width of the tube; LIBSVM's and e1071's default.
EPSILON = 0.1
#: Iterations a gene after which a solution is taken as it is.
MAX_ITERATIONS = 300
_ROWS = 256  # of a kernel computed at a time, so that they stay in the cache

Kernel = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def rbf_kernel(
    x: Matrix | Signal, y: Matrix | Signal, gamma: float, kind: type[np.floating[Any]] = np.float32
) -> Kernel:
    """exp(-gamma |x_i - y_j|^2); float32 [len(x), len(y)].

    It is computed in `kind`: float64 for features that are not standardised, where differences of near genes
    are far smaller than the genes' norms.
    """
    left, right = np.asarray(x, kind), np.ascontiguousarray(np.asarray(y, kind).T)
    norms_x, norms_y = (gamma * np.einsum("ij,ij->i", z, z) for z in (left, right.T))
    kernel = np.empty((len(left), right.shape[1]), dtype=np.float32)
    buffer = np.empty((_ROWS, right.shape[1]), dtype=kind)
    for first in range(0, len(left), _ROWS):
        rows = slice(first, first + _ROWS)
        block = np.matmul(left[rows] * kind(2 * gamma), right, out=buffer[: len(left[rows])])
        block -= norms_x[rows, None]
        block -= norms_y
        np.minimum(block, 0, out=block)
        np.exp(block, out=kernel[rows])
    return kernel


@dataclass(frozen=True)
class Support:
    """A solution: f(x) = sum_i beta_i k(x_i, x) + bias.

    Attributes
    ----------
    beta : float64 [n_genes]
        0 for genes that took no part.
    bias : float
    fitted : float64 [n_genes]
        f of every gene of the kernel, those that took no part included.
    converged : bool
        Whether the tolerance was reached within `MAX_ITERATIONS`.
    """

    beta: Vector
    bias: float
    fitted: Vector
    converged: bool = True


def _bind(library: ctypes.CDLL) -> ctypes._NamedFuncPointer:
    integer, real, address = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p
    arrays = [address] * 4
    return declare(library.svr_solve, integer, integer, *arrays, real, real, integer, *arrays)


SOLVER = Extension("diffchrom.baselines._svr", "the compiled SVR solver", 1, _bind)


def solve_path(
    kernel: Kernel, labels: Vector, active: Mask, penalties: tuple[float, ...], *, library: bool | None = None
) -> list[Support]:
    """Solve for rising penalties C on the genes in `active`, each from the last one's solution.

    Parameters
    ----------
    kernel : float32 [n_genes, n_genes], symmetric
    labels : float64 [n_genes]; only those of active genes are looked at.
    active : bool [n_genes]
    penalties : C, rising.
    library : True for scikit-learn, False for the compiled solver; None takes what was built.
    """
    if library is None:
        library = SOLVER.missing is not None
    labels = np.where(active, labels, 0.0)
    if library:
        return [_solve_sklearn(kernel, labels, active, penalty) for penalty in penalties]
    solutions: list[Support] = []
    beta, margin = np.zeros(len(labels)), np.zeros(len(labels))
    before = None
    for penalty in penalties:
        if before is not None:
            # Most genes are at the bound: scaling keeps them there (DeCoste and Wagstaff 2000).
            beta, margin = beta * (penalty / before), margin * (penalty / before)
        solution = _solve_compiled(kernel, labels, active, penalty, beta, margin)
        beta, margin = solution.beta, solution.fitted - solution.bias
        solutions.append(solution)
        before = penalty
    return solutions


def _solve_compiled(
    kernel: Kernel, labels: Vector, active: Mask, penalty: float, beta: Vector, margin: Vector
) -> Support:
    n = len(labels)
    if kernel.shape != (n, n) or not kernel.flags.c_contiguous or kernel.dtype != np.float32:
        raise ValueError(f"a contiguous float32 kernel [{n}, {n}] is needed")
    upper = np.where(active, float(penalty), 0.0)
    beta = np.clip(beta, -upper, upper)
    margin = np.array(margin, dtype=np.float64)
    labels = np.ascontiguousarray(labels, dtype=np.float64)
    diagonal = np.ascontiguousarray(np.diagonal(kernel))
    bias, workspace = np.zeros(1), np.empty(3 * n, dtype=np.float32)
    pointers = [array.ctypes.data for array in (kernel, labels, diagonal, upper)]
    results = [array.ctypes.data for array in (beta, margin, bias, workspace)]
    iterations = SOLVER.require()(n, *pointers, EPSILON, TOLERANCE, MAX_ITERATIONS * n, *results)
    return Support(beta, float(bias[0]), margin + bias[0], iterations >= 0)


def _solve_sklearn(kernel: Kernel, labels: Vector, active: Mask, penalty: float) -> Support:
    from sklearn.svm import SVR

    index = np.flatnonzero(active)
    model = SVR(kernel="precomputed", C=penalty, epsilon=EPSILON, tol=TOLERANCE, cache_size=1000)
    model.fit(kernel[np.ix_(index, index)].astype(np.float64), labels[index])
    beta = np.zeros(len(labels))
    beta[index[model.support_]] = model.dual_coef_[0]
    bias = float(np.ravel(model.intercept_)[0])
    return Support(beta, bias, cast(Vector, kernel @ beta.astype(np.float32) + bias))
