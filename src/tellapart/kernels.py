"""The one seam behind which a backend's own calls stand: where Keras' neutral operations cost too much time.

Everything else here is written in `keras.ops`. What this module gives equals Keras' own in its results, which a test
proves; on a backend without such a kernel Keras' own is what it gives.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras


def adadelta(learning_rate: Any, weight_decay: float | None = None) -> keras.optimizers.Optimizer:
    """Adadelta (Zeiler 2012), each variable updated by one kernel where the backend has it.

    Keras' own makes some sixteen passes over a variable and both its accumulators; with the 1.6 million weights of the
    tutorial's dense layer that is a third of a step.
    """
    if keras.backend.backend() == "tensorflow":
        return FusedAdadelta(learning_rate, weight_decay=weight_decay)
    return keras.optimizers.Adadelta(learning_rate, weight_decay=weight_decay)


@keras.saving.register_keras_serializable("tellapart")
class FusedAdadelta(keras.optimizers.Adadelta):
    """Keras' Adadelta by TensorFlow's fused kernel: the same numbers, the same state, the same config."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable and its two accumulators in place."""
        import tensorflow as tf

        i = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdadelta(
            var=_handle(variable),
            accum=_handle(self._accumulated_grads[i]),
            accum_update=_handle(self._accumulated_delta_vars[i]),
            lr=tf.cast(learning_rate, variable.dtype),
            rho=tf.cast(self.rho, variable.dtype),
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
        )


def sgd(learning_rate: Any, weight_decay: float | None = None) -> keras.optimizers.Optimizer:
    """SGD with Nesterov's momentum of 0.9, each variable updated by one kernel where the backend has it."""
    made = FusedSGD if keras.backend.backend() == "tensorflow" else keras.optimizers.SGD
    return made(learning_rate, momentum=0.9, nesterov=True, weight_decay=weight_decay)


@keras.saving.register_keras_serializable("tellapart")
class FusedSGD(keras.optimizers.SGD):
    """Keras' SGD by TensorFlow's fused kernel: the same numbers, the same state, the same config."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable and its momentum in place."""
        if not self.momentum:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        tf.raw_ops.ResourceApplyKerasMomentum(
            var=_handle(variable),
            accum=_handle(self.momentums[self._get_variable_index(variable)]),
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )


@keras.saving.register_keras_serializable("tellapart")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation of pictures, (B, H, W, C), by the backend's fused kernel where it has one.

    Keras' own reads and writes the picture some ten times, in float32 whatever the policy: in bfloat16 that is two
    fifths of a residual network's training step. The kernel reads it twice, keeps the statistics in float32, and is
    merged with the activation that follows.

    It is for training: `plain` gives the standard layer that a saved network has in its place.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise by the batch's own statistics in training, by the moving ones otherwise."""
        if not self._has_kernel(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        by_batch = bool(training and self.trainable)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.zeros(0) if by_batch else tf.convert_to_tensor(self.moving_mean),
            variance=tf.zeros(0) if by_batch else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            exponential_avg_factor=1.0,  # the batch's statistics; the moving ones are kept here
            is_training=by_batch,
        )
        if by_batch:
            n = tf.cast(tf.size(inputs) // inputs.shape[-1], variance.dtype)
            variance *= (n - 1) / n  # the kernel gives the unbiased one, Keras keeps the other
            statistics: Any = ((self.moving_mean, mean), (self.moving_variance, variance))
            for moving, now in statistics:
                moving.assign(moving * self.momentum + now * (1.0 - self.momentum))
        return outputs

    def _has_kernel(self, inputs: Any, mask: Any) -> bool:
        """Whether the kernel gives what Keras' own would give of these inputs with these settings."""
        ordinary = self.scale and self.center and not self.renorm and not self.synchronized and mask is None
        pictures = len(inputs.shape) == 4 and self.axis in (-1, 3)
        kind = keras.backend.standardize_dtype(inputs.dtype)
        format_kept = (
            kind in ("float32", "bfloat16") and kind == self.compute_dtype and self.variable_dtype == "float32"
        )
        return bool(keras.backend.backend() == "tensorflow" and ordinary and pictures and format_kept)


def plain(layer: keras.Layer) -> type[keras.Layer]:
    """The class of a layer, or of the standard one that it stands for: what a saved network is made of."""
    return keras.layers.BatchNormalization if type(layer) is BatchNormalization else type(layer)


@contextlib.contextmanager
def exporting() -> Iterator[None]:
    """While a network is exported its convolutions in groups stay what they are.

    TensorFlow computes them on a CPU only where they are compiled, so Keras calls a compiled function in their place,
    and no exporter looks into one. ConvNeXt's windows by channel are of this kind.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    from keras.src.backend.tensorflow import nn

    real, nn.tf = nn.tf, _Uncompiled(nn.tf)
    try:
        yield
    finally:
        nn.tf = real


class _Uncompiled:
    """TensorFlow, but that what is to be compiled stays as it is."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def function(self, func: Callable | None = None, **settings: Any) -> Any:
        if settings.get("jit_compile"):
            return func or (lambda each: each)
        return self._real.function(func, **settings)


def _handle(variable: Any) -> Any:
    """TensorFlow's handle of a variable, be it Keras' wrapper or TensorFlow's own."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
