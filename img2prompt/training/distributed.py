"""Data-parallel training: several devices, several machines, one batch shared out among them.

Every replica takes its slice of the same seeded batch, and the losses and gradients are summed, so
a run takes the steps that one process takes. Keras' `fit` does not work under
`MultiWorkerMirroredStrategy`; `fit` here is a loop of our own that drives the same callbacks.

A cluster is described by `TF_CONFIG`, which Kubeflow's TFJob sets and every other launcher can:

    TF_CONFIG='{"cluster": {"worker": ["host0:2222", "host1:2222"]},
                "task": {"type": "worker", "index": 0}}'

The first worker (or the task `chief`) is the chief: it alone writes the run's folder and reads its
checkpoints.
"""

import contextlib
import functools
import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.backend import keras, tf
from img2prompt.core.errors import UserError

STRATEGIES = ("none", "mirrored", "multiworker")
TF_CONFIG_FORM = '{"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}'

# How the loss of a peer shows itself. A closed connection raises within a second; of a machine
# that fell silent TensorFlow's coordination service hears no heartbeat for ten.
_PEER_GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
)


@dataclass(frozen=True)
class Task:
    """One process of a cluster: its number among how many."""

    rank: int = 0
    workers: int = 1


def task_of(strategy: str) -> Task:
    """This process's place, as `TF_CONFIG` says it; alone unless `strategy` is `multiworker`.

    Raises:
        UserError: unknown strategy, or a `TF_CONFIG` that is missing or describes no cluster.
    """
    if strategy not in STRATEGIES:
        raise UserError("training.no_strategy", strategy=strategy, strategies=", ".join(STRATEGIES))
    if strategy != "multiworker":
        return Task()
    told = os.environ.get("TF_CONFIG")
    if not told:
        raise UserError("training.no_tf_config")
    try:
        value = json.loads(told)
        cluster, task = value["cluster"], value["task"]
        jobs = {job: list(cluster.get(job) or []) for job in ("chief", "worker")}
        others = set(cluster) - set(jobs)
        kind, number = task["type"], int(task["index"])
        whole = all(_is_address(address) for job in jobs.values() for address in job)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError("training.tf_config_form", form=TF_CONFIG_FORM) from None
    if others:
        raise UserError("training.tf_config_kinds", kinds=", ".join(sorted(others)))
    if not whole or len(jobs["chief"]) > 1:
        raise UserError("training.tf_config_addresses")
    if kind not in jobs or not 0 <= number < len(jobs[kind]):
        raise UserError("training.tf_config_task", kind=kind, number=number)
    addresses = jobs["chief"] + jobs["worker"]
    if len(set(addresses)) < len(addresses):
        raise UserError("training.tf_config_twice")
    return Task(number + (len(jobs["chief"]) if kind == "worker" else 0), len(addresses))


def _is_address(address: Any) -> bool:
    host, _, port = address.rpartition(":")
    return bool(host) and port.isdigit() and 0 < int(port) < 2**16


@dataclass(frozen=True)
class Schedule:
    """How long to train: updates an epoch, which epochs, and `verbose` as of Keras' `fit`."""

    steps: int
    epochs: range
    verbose: int = 0


class Cluster:
    """The replicas that train together.

    Attributes:
        strategy: a `tf.distribute.Strategy`; None for one process on one device.
        task: this process among the workers.
    """

    def __init__(self, strategy: Any, task: Task) -> None:
        self.strategy, self.task = strategy, task

    @property
    def chief(self) -> bool:
        """Whether this process writes the run."""
        return self.task.rank == 0

    @property
    def replicas(self) -> int:
        """All devices of all workers."""
        return self.strategy.num_replicas_in_sync if self.strategy is not None else 1

    @property
    def local(self) -> int:
        """Devices of this worker."""
        return self.replicas // self.task.workers

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Where the variables that all replicas share are made."""
        return self.strategy.scope() if self.strategy is not None else contextlib.nullcontext()

    def check_batch(self, batch_size: int) -> None:
        """Raise `UserError` where a batch cannot be shared out evenly."""
        if batch_size % self.replicas:
            replicas = self.replicas
            raise UserError(
                "training.batch", batch_size=batch_size, replicas=replicas, multiple=replicas
            )

    def part(self, batch: NDArray[Any]) -> NDArray[Any]:
        """This worker's slice of a batch."""
        size = len(batch) // self.task.workers
        return batch[self.task.rank * size : (self.task.rank + 1) * size]

    def barrier(self) -> None:
        """Wait until every worker is here."""
        self.gather(0)

    def gather(self, number: int) -> NDArray[Any]:
        """What each replica's worker gives: int64 (replicas,), in their order."""
        if self.strategy is None:
            return np.array([number], np.int64)

        return self._first(self._gather(tf.constant([number], tf.int64))).numpy()

    def agree(self, what: Any) -> None:
        """Raise `UserError` unless every worker is about to do the same.

        Args:
            what: JSON-ready.
        """
        digest = hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=7).digest()
        if len(set(self.gather(int.from_bytes(digest, "big")).tolist())) > 1:
            raise UserError("training.no_agreement")

    def share(self, values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The chief's values on every worker: the same shapes, int64 or floating."""
        if self.strategy is None:
            return list(values)

        def run(*tensors: tf.Tensor) -> list[tf.Tensor]:
            context = tf.distribute.get_replica_context()
            mine = tf.equal(context.replica_id_in_sync_group, 0)
            own = [tf.where(mine, tensor, tf.zeros_like(tensor)) for tensor in tensors]
            # One by one: a list must be of one dtype.
            return [context.all_reduce(tf.distribute.ReduceOp.SUM, tensor) for tensor in own]

        together = tf.function(lambda *tensors: self.strategy.run(run, args=tensors))
        shared = together(*(tf.convert_to_tensor(value) for value in values))
        return [self._first(value).numpy() for value in shared]

    def share_state(self, network: keras.Model) -> None:
        """Give every worker the chief's weights, optimizer state and random numbers."""
        if self.task.workers == 1:
            return
        variables = [*network.variables, *network.optimizer.variables]
        held = [keras.ops.convert_to_numpy(variable) for variable in variables]
        wide = [v if np.issubdtype(v.dtype, np.floating) else v.astype(np.int64) for v in held]
        for variable, own, value in zip(variables, held, self.share(wide), strict=True):
            variable.assign(value.astype(own.dtype))
        if hasattr(network.loss, "random_state"):
            (network.loss.random_state,) = self.share([network.loss.random_state])

    @functools.cached_property
    def _gather(self) -> Callable[[tf.Tensor], Any]:
        def run(value: tf.Tensor) -> tf.Tensor:
            # A tensor made here has the replica's device; an argument has none.
            return tf.distribute.get_replica_context().all_gather(tf.identity(value), axis=0)

        return tf.function(lambda value: self.strategy.run(run, args=(value,)))

    def _first(self, value: Any) -> tf.Tensor:
        return self.strategy.experimental_local_results(value)[0]


@contextlib.contextmanager
def opened(strategy: str) -> Iterator[Cluster]:
    """The cluster of a strategy; opened before TensorFlow does anything else.

    Raises:
        UserError: as `task_of`; and while it is open, as soon as another worker is gone.
    """
    task = task_of(strategy)
    if strategy == "none":
        yield Cluster(None, task)
        return
    if strategy == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        yield Cluster(tf.distribute.MirroredStrategy([device.name for device in devices]), task)
        return
    try:
        if task.workers > 1 and task.rank == 0:
            print(f"waiting for {task.workers - 1} more workers", file=sys.stderr, flush=True)
        cluster = Cluster(tf.distribute.MultiWorkerMirroredStrategy(), task)
    except (tf.errors.OpError, RuntimeError) as error:
        told = str(error).strip().splitlines()
        reason = told[0] if told else type(error).__name__
        raise UserError("training.not_together", reason=reason) from None
    try:
        yield cluster
    except tf.errors.OpError as error:
        gone = isinstance(error, _PEER_GONE) or "Collective ops is aborted" in error.message
        if task.workers == 1 or not gone:
            raise
        raise UserError("training.worker_gone", reason=type(error).__name__) from None


def fit(
    cluster: Cluster,
    network: keras.Model,
    batches: tf.data.Dataset,
    schedule: Schedule,
    validate: Callable[[], dict[str, float]],
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.callbacks.History:
    """Keras' `fit`, for a network that was built and compiled in the cluster's scope.

    Args:
        cluster: the replicas.
        network: compiled.
        batches: this worker's parts of the batches, endless or long enough.
        schedule: how long.
        validate: the figures of an epoch beside `loss`, called on every worker.
        callbacks: of this worker. Any of them may set `stop_training`; then all workers stop when
            the epoch ends.
    """
    history = keras.callbacks.History()
    chain = keras.callbacks.CallbackList(
        [*callbacks, history],
        add_progbar=schedule.verbose != 0,
        model=network,
        verbose=schedule.verbose,
        epochs=schedule.epochs.stop,
        steps=schedule.steps,
    )
    with cluster.scope():  # no variable may be made within a step
        network.optimizer.build(network.trainable_variables)
    step = _step(cluster, network)
    network.stop_training = False
    chain.on_train_begin()
    source = iter(batches)
    logs: dict[str, float] = {}  # of a run that was stopped after its last epoch
    for epoch in schedule.epochs:
        chain.on_epoch_begin(epoch)
        total = 0.0
        for number in range(schedule.steps):
            chain.on_train_batch_begin(number)
            total += float(step(*_to_replicas(cluster, next(source))))
            logs = {"loss": total / (number + 1)}
            chain.on_train_batch_end(number, logs)
            # The same on every worker. Any other stop waits for the end of the epoch, because the
            # others are already in the next all-reduce.
            if not math.isfinite(total):
                break
        logs |= validate()
        chain.on_epoch_end(epoch, logs)
        # Also where the others wait for the chief's figures and checkpoint.
        if cluster.gather(int(network.stop_training)).any():
            break
    chain.on_train_end(logs)
    return history


def _step(cluster: Cluster, network: keras.Model) -> Callable[..., tf.Tensor]:
    """(inputs, targets) of all replicas → the loss of the whole batch; takes one update."""
    strategy, optimizer, replicas = cluster.strategy, network.optimizer, cluster.replicas
    variables = network.trainable_variables
    clip = optimizer.clipnorm

    def of_replica(inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            predicted = network(inputs, training=True)
            # Slices are of one size, so the batch's mean is the mean of theirs. In a replica
            # Keras divides a loss by their number already, but not a layer's penalty.
            loss = network.loss(targets, predicted)
            if network.losses:
                loss += tf.add_n(network.losses) / replicas
        gradients = tape.gradient(loss, variables)
        if clip:
            # The optimizer clips before it sums over replicas; one process clips the sum. What
            # is summed and clipped here, the optimizer's own sum of equal parts leaves as it is.
            context = tf.distribute.get_replica_context()
            summed = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            gradients = [tf.clip_by_norm(gradient, clip) / replicas for gradient in summed]
        optimizer.apply(gradients, variables)
        return loss

    @tf.function
    def step(inputs: Any, targets: Any) -> tf.Tensor:
        losses = strategy.run(of_replica, args=(inputs, targets))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    return step


def _to_replicas(cluster: Cluster, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[Any, Any]:
    """This worker's part of a batch, a slice for each of its devices."""
    if cluster.local == 1:
        return batch

    def slices(tensor: tf.Tensor) -> Any:
        size = math.ceil(tensor.shape[0] / cluster.local)
        first = cluster.task.rank * cluster.local

        def own(context: tf.distribute.ReplicaContext) -> tf.Tensor:
            place = context.replica_id_in_sync_group - first
            return tensor[place * size : (place + 1) * size]

        return cluster.strategy.experimental_distribute_values_from_function(own)

    return slices(batch[0]), slices(batch[1])
