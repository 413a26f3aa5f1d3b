"""The training loop: `schanger-edge pretrain` and `schanger-edge train`.

Reads from top to bottom in `_train`. A run is a folder with `last.pth`, `best.pth`, `history.jsonl`, `training.png`.
Each step follows from its number, the seed and the state before it, so a run that was killed reaches the same weights.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from schanger_edge.errors import SchangerError
from schanger_edge.model.card import Normalization
from schanger_edge.progress import Tell
from schanger_export import run_folder
from schanger_export.checkpoints import initialize
from schanger_export.crops import Crops, loaded, micro_batches
from schanger_export.history import History
from schanger_export.network import DropPath, SChanger, SingleDateNetwork, freeze_batchnorm
from schanger_export.options import Amp, Machine, Training
from schanger_export.processes import Processes, check_memory, joined, keep_large_blocks
from schanger_export.recipe import State, ema_decay, learning_rate, loss_function, optimizer_groups, update_average
from schanger_export.remarks import remarks
from schanger_export.validation import colours, validate
from schanger_export.weights import resolve


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a run left.

    Attributes:
        folder: of the run.
        step: steps done.
        best_f1: of the validation; None without one.
        checkpoint: the file to export.
        first: whether this process is the one that validates, writes and reports.
        warning: a sentence for the user, or empty.
    """

    folder: Path
    step: int
    best_f1: float | None
    checkpoint: Path
    first: bool
    warning: str = ""


def train(
    options: Training | None,
    folder: Path,
    machine: Machine | None = None,
    *,
    resume: bool = False,
    report: Tell | None = None,
    tell: Callable[[str], None] | None = None,
) -> Trained:
    """Train a network, or go on with a run.

    Args:
        options: what to do; None goes on with what the run in `folder` was asked for.
        folder: of the run; made where it does not exist.
        machine: what it uses of the machine; None takes the defaults.
        resume: go on after the last checkpoint in `folder`.
        report: told of `train` in steps, in the first process: the mean loss since the last record, the learning rate,
            F1 of the latest validation and the highest so far.
        tell: called there too, with each line for the user: how labels are read, warnings, scores.

    Raises:
        SchangerError: the data, the options or the folder are not usable, or the loss is not finite.
    """
    machine = machine or Machine()
    if machine.threads:
        torch.set_num_threads(machine.threads)
    with joined(machine.device) as processes, run_folder.held(folder, resume=resume, writes=processes.first):
        options = run_folder.prepare(folder, options, resume=resume)
        if processes.device.type == "cpu":
            keep_large_blocks()
            check_memory(options, processes.world)
        try:
            report = report or (lambda *_, **__: None)
            return _train(options, folder, machine, processes, report, tell or (lambda _: None))
        except RuntimeError as error:  # raised by torch's handler of signals, wherever the loop is
            if "DataLoader worker" not in str(error):
                raise
            lines = str(error).splitlines()  # the worker's traceback, or a line of torch's own
            reason = lines[-1 if lines[0].startswith("Caught") else 0].rstrip(".")
            raise SchangerError(
                f"a process that reads data has ended ({reason}): use --workers 0, or give it more memory, in a "
                "container more /dev/shm."
            ) from error


def _train(  # noqa: PLR0912, PLR0915  # the whole loop, from top to bottom
    options: Training,
    folder: Path,
    machine: Machine,
    processes: Processes,
    report: Tell,
    tell: Callable[[str], None],
) -> Trained:
    device, world = processes.device, processes.world
    schedule, optimizer, sampling = options.schedule, options.optimizer, options.sampling
    if schedule.batch_size % (schedule.accumulate * world):
        raise SchangerError(
            f"--batch {schedule.batch_size} cannot be divided among {world} processes: use a multiple of {world}."
        )

    # Data: an endless numbered stream of crops, of which this process takes its part of every step.
    normalization = run_folder.normalization(folder, options)
    crops = Crops(options.sources(), options.dates, sampling, normalization.mean_colors[: options.dates])
    validation, data = options.validation(), crops.sha256()
    rules, lines = remarks(options, processes, crops) if processes.first else ({}, [])
    for line in lines:
        tell(line)
    steps_per_epoch = max(1, round(len(crops) / schedule.batch_size))
    steps, warmup = schedule.epochs * steps_per_epoch, round(schedule.warmup_epochs * steps_per_epoch)

    # Network, average, optimizer: fresh, or as the last checkpoint left them.
    torch.manual_seed(sampling.seed)
    resumed = run_folder.unfinished(folder).exists()
    network = build_network(options.replace(init=None) if resumed else options).to(
        device, memory_format=torch.channels_last
    )  # type: ignore[call-overload]
    amp = _amp_type(optimizer.amp, device)
    state = State(
        network=network,
        average=copy.deepcopy(network).requires_grad_(False).eval(),
        optimizer=torch.optim.AdamW(optimizer_groups(network, optimizer.weight_decay), lr=optimizer.rate),
        scaler=torch.amp.GradScaler(device.type, enabled=amp is torch.float16),
    )
    run_folder.restore(folder, state, data)
    model = _parallel(network, processes)
    numbers = micro_batches(state.step, steps, schedule.batch_size, schedule.accumulate, processes)
    batches = loaded(crops, numbers, machine.workers, pin_memory=device.type == "cuda")
    prepare = Preparation(normalization, options.dates, device)
    history = History(folder, state.step, machine.tensorboard) if processes.first else None
    saved = time.monotonic()

    while state.step < steps:
        rate = learning_rate(state.step, steps, warmup, optimizer.rate)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(_step_seed(sampling.seed, state.step, processes.rank))  # DropPath and dropout
        network.train()
        if options.network.freeze_batchnorm:
            freeze_batchnorm(network)

        # Gradient of the whole batch: the mean over micro-batches, and over processes.
        state.optimizer.zero_grad(set_to_none=True)
        loss_sum = torch.zeros((), device=device)
        for micro in range(schedule.accumulate):
            images, label = prepare(*next(batches))
            last = micro == schedule.accumulate - 1
            with _synchronized(model, last), torch.autocast(device.type, amp, enabled=amp is not None):
                logits = model(*images)
            loss = loss_function(logits, label, side_losses=optimizer.side_losses, world=world) / schedule.accumulate
            with _synchronized(model, last):
                state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            loss_sum += loss.detach()
        state.scaler.unscale_(state.optimizer)
        norm = nn.utils.clip_grad_norm_(network.parameters(), optimizer.clip or math.inf)
        value = _mean_over_processes(loss_sum, world)
        if not math.isfinite(value) or (amp is not torch.float16 and not math.isfinite(norm)):
            raise SchangerError(_diverged(value, state, steps, rate, folder))

        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.step += 1
        if state.step % optimizer.ema_every == 0 or state.step == steps:
            state.updates += 1
            update_average(state.average, network, ema_decay(state.updates, optimizer.ema))
        state.loss_sum, state.loss_count = state.loss_sum + value, state.loss_count + 1

        # Once an epoch a record; every few epochs, and at the end, the validation; last.pth from time to time.
        epoch, in_epoch = divmod(state.step, steps_per_epoch)
        validates = in_epoch == 0 and (epoch % schedule.eval_interval == 0 or state.step == steps)
        loss_mean = state.loss_sum / state.loss_count
        if in_epoch == 0:
            state.loss_sum, state.loss_count = 0.0, 0
        if history and in_epoch == 0:
            record = {"step": state.step, "epoch": epoch, "loss": loss_mean, "rate": rate}
            if validates and validation:
                scored = run_folder.weights_to_use(options, state).eval()
                scores = validate(scored, validation, options.dates, normalization, device, amp)
                state.f1, record = scores.f1, record | scores.as_record()
                tell(f"epoch {epoch}: loss {loss_mean:.3f}, {scores}")
            history.add(record if history.records else {**record, "label_rules": rules})
            if validates and run_folder.is_best(state):
                state.best_f1 = state.f1
                run_folder.save(folder / run_folder.BEST, options, normalization, state, data)
        if processes.first and (state.step == steps or time.monotonic() - saved >= machine.save_seconds):
            run_folder.save(folder / run_folder.LAST, options, normalization, state, data)
            saved = time.monotonic()
        if processes.first:
            facts = {"loss": loss_mean, "learning_rate": rate, "f1": state.f1, "best_f1": state.best_f1}
            report("train", state.step, steps, **facts)

    warning = history.close() if history else ""
    return Trained(folder, state.step, state.best_f1, folder / run_folder.BEST, processes.first, warning)


class Preparation:
    """A batch as it is read -> normalized images by date, on the device, and the label.

    Each date is normalized with its own colours, and the dates of a pair are exchanged after that.
    """

    def __init__(self, normalization: Normalization, dates: int, device: torch.device) -> None:
        self.mean, self.std = colours(normalization, dates, device)
        self.device = device

    def __call__(self, images: Tensor, label: Tensor, swap: Tensor) -> tuple[list[Tensor], Tensor]:
        """images (N, dates, 3, T, T) in 0-1, label (N, 1, T, T), swap (N,) -> dates x (N, 3, T, T), label."""
        images, label, swap = (tensor.to(self.device, non_blocking=True) for tensor in (images, label, swap))
        images = (images - self.mean) / self.std
        images = torch.where(swap[:, None, None, None, None], images.flip(1), images)
        return [date.contiguous(memory_format=torch.channels_last) for date in images.unbind(1)], label


def build_network(options: Training) -> nn.Module:
    """A network of the task with the weights it starts from, which must fit, its drop rates set."""
    kind: type[SChanger | SingleDateNetwork] = SChanger if options.dates == 2 else SingleDateNetwork
    network = kind(options.size)
    if options.network.init:
        initialize(network, resolve(options.network.init, options.size))
    for module in network.modules():
        if isinstance(module, DropPath):
            module.rate = options.network.drop
        elif isinstance(module, nn.Dropout):
            module.p = options.network.drop
    return network


def _amp_type(amp: Amp, device: torch.device) -> torch.dtype | None:
    """float16, bfloat16 or None for float32."""
    if amp == "auto":
        return torch.float16 if device.type == "cuda" else None
    if amp == "fp16" and device.type == "cpu":
        raise SchangerError("--amp fp16 needs a CUDA GPU: omit the option to train in float32 on the CPU.")
    return {"none": None, "fp16": torch.float16, "bf16": torch.bfloat16}[amp]


def _parallel(network: nn.Module, processes: Processes) -> nn.Module:
    """The network, with its gradients averaged over processes; on CUDA BatchNorm sees the whole batch too."""
    if processes.world == 1:
        return network
    if processes.device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(network, device_ids=[processes.device])
    return DistributedDataParallel(network)


def _synchronized(model: nn.Module, last: bool) -> Any:
    """Gradients are averaged over processes with the last micro-batch alone."""
    if isinstance(model, DistributedDataParallel) and not last:
        return model.no_sync()
    return contextlib.nullcontext()


def _mean_over_processes(loss: Tensor, world: int) -> float:
    if world > 1:
        torch.distributed.all_reduce(loss)
        loss = loss / world
    return float(loss)


def _step_seed(seed: int, step: int, rank: int) -> int:
    return (seed * 1_000_003 + step) * 4099 + rank


def _diverged(value: float, state: State, steps: int, rate: float, folder: Path) -> str:
    what = "loss" if not math.isfinite(value) else "gradient"
    last = folder / run_folder.LAST
    where = f"the last good checkpoint is {last}" if last.exists() else "there is no checkpoint yet"
    return (
        f"step {state.step + 1} of {steps}: the {what} is not finite at rate {rate:.2e}; {where}: restart from it "
        "with --init and a lower --rate, or with --max-norm 1."
    )
