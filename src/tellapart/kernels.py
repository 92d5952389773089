"""The one seam behind which a backend's own calls stand: where Keras' neutral operations cost too much time.

Everything else here is written in `keras.ops`. What this module gives equals Keras' own in its results, which a test
proves; on a backend without such a kernel Keras' own is what it gives.
"""

from __future__ import annotations

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


def _handle(variable: Any) -> Any:
    """TensorFlow's handle of a variable, be it Keras' wrapper or TensorFlow's own."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
