"""The best linear map from fixed features to targets: ridge and logistic regression.

One convex problem, solved to its optimum: no learning rate and no seed decides the result, so
that features of an encoder and counts of k-mers are compared by what they hold. The strength of
the penalty is the one with the least loss on validation sequences.

Shape suffixes: N sequences, F features, C outputs.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..tasks.task import Kind

PENALTIES = (1.0, 0.1, 0.01, 1e-3, 1e-4)
"""Of half the squared weights, beside a mean loss; the strongest is fitted first."""
MAX_ITERATIONS = 200


class LinearMap(NamedTuple):
    """Outputs are (features - mean) / scale @ weight + bias."""

    mean_F: NDArray[np.float64]
    scale_F: NDArray[np.float64]
    weight_FC: NDArray[np.float64]
    bias_C: NDArray[np.float64]
    penalty: float
    validation_loss: float

    def predict(self, features_NF: NDArray[np.floating]) -> NDArray[np.float64]:
        """Outputs_NC: logits, or numbers."""
        return (features_NF - self.mean_F) / self.scale_F @ self.weight_FC + self.bias_C


def fit_linear(
    train: tuple[NDArray[np.floating], NDArray[np.floating]],
    validation: tuple[NDArray[np.floating], NDArray[np.floating]],
    kind: Kind,
    *,
    num_classes: int = 1,
    penalties: tuple[float, ...] = PENALTIES,
) -> LinearMap:
    """Fit on (features_NF, targets_N) of `train` with the penalty that suits `validation` best.

    Features are standardised by the training ones; one that is constant there has no say. The
    bias is not penalised. Among equal losses the stronger penalty is taken.
    """
    features_NF = np.asarray(train[0], np.float64)
    if not len(features_NF) or not len(validation[0]):
        raise ValueError("a linear map needs training and validation sequences, got none")
    mean_F, scale_F = features_NF.mean(axis=0), features_NF.std(axis=0)
    is_constant_F = scale_F <= 1e-12 * np.maximum(np.abs(mean_F), 1)
    scale_F = np.where(is_constant_F, math.inf, scale_F)
    x_NF = torch.from_numpy((features_NF - mean_F) / scale_F)
    y_N = torch.from_numpy(np.asarray(train[1], np.float64))
    val_x_NF = torch.from_numpy((np.asarray(validation[0], np.float64) - mean_F) / scale_F)
    val_y_N = torch.from_numpy(np.asarray(validation[1], np.float64))
    solve = _iter_ridge if kind == "regression" else _iter_logistic
    num_outputs = num_classes if kind == "multiclass" else 1
    best: LinearMap | None = None
    ordered = tuple(sorted(penalties, reverse=True))
    for penalty, weight_FC, bias_C in solve(x_NF, y_N, num_outputs, ordered):
        loss = float(compute_loss(val_x_NF @ weight_FC + bias_C, val_y_N, kind))
        if best is None or loss < best.validation_loss:
            weight, bias = weight_FC.numpy().copy(), bias_C.numpy().copy()
            best = LinearMap(mean_F, scale_F, weight, bias, penalty, loss)
    assert best is not None, "no penalty to try"
    return best


def compute_loss(outputs_NC: Tensor, targets_N: Tensor, kind: Kind) -> Tensor:
    """Mean loss: half a squared error, or a cross-entropy in nats."""
    if kind == "multiclass":
        return F.cross_entropy(outputs_NC, targets_N.long())
    if kind == "binary":
        return F.binary_cross_entropy_with_logits(outputs_NC[:, 0], targets_N)
    return ((outputs_NC[:, 0] - targets_N) ** 2).mean() / 2


def _iter_ridge(x_NF: Tensor, y_N: Tensor, num_outputs: int, penalties: tuple[float, ...]):
    """Closed form, by the eigenvectors of the covariance: one decomposition for all penalties."""
    values_F, vectors_FF = torch.linalg.eigh(x_NF.T @ x_NF / len(x_NF))
    projected_F = vectors_FF.T @ (x_NF.T @ (y_N - y_N.mean()) / len(x_NF))
    for penalty in penalties:
        weight_F = vectors_FF @ (projected_F / (values_F.clamp(min=0) + penalty))
        yield penalty, weight_F[:, None], y_N.mean()[None]


def _iter_logistic(x_NF: Tensor, y_N: Tensor, num_outputs: int, penalties: tuple[float, ...]):
    """L-BFGS from the optimum of the next stronger penalty; the first from zero."""
    kind: Kind = "multiclass" if num_outputs > 1 else "binary"
    with torch.enable_grad():
        weight_FC = torch.zeros(x_NF.shape[1], num_outputs, dtype=torch.float64)
        bias_C = torch.zeros(num_outputs, dtype=torch.float64)
        parameters = [weight_FC.requires_grad_(), bias_C.requires_grad_()]
        for penalty in penalties:
            optimizer = torch.optim.LBFGS(
                parameters,
                max_iter=MAX_ITERATIONS,
                tolerance_grad=1e-7,
                tolerance_change=1e-12,
                line_search_fn="strong_wolfe",
            )

            def close(penalty: float = penalty, optimizer: torch.optim.Optimizer = optimizer):
                optimizer.zero_grad()
                loss = compute_loss(x_NF @ weight_FC + bias_C, y_N, kind)
                loss = loss + penalty / 2 * (weight_FC**2).sum()
                loss.backward()
                return loss

            optimizer.step(close)
            yield penalty, weight_FC.detach(), bias_C.detach()
