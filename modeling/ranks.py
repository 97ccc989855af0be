"""Where a training runs: on one device, or spread over several processes of one machine, each with a device of its own.

FSDP2 (`fully_shard`) keeps of every block's weights, gradients and moments one part in each process and brings them together
where they are used, so that a network need not fit one device. Nothing of this decides what is learnt: a run may go on
elsewhere, with another number of processes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from modeling.training import Progress

Net = TypeVar("Net", bound=nn.Module)

DEVICES = ("auto", "cpu", "cuda")
CPU = torch.device("cpu")
POLL_S = 0.1


@dataclass(frozen=True)
class Machine:
    """What a run may use. "auto" is cuda where there is one."""

    device: str = "cpu"
    processes: int = 1

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise ValueError(f"device {self.device!r} is none of {', '.join(DEVICES)}")
        if self.processes < 1:
            raise ValueError(f"processes {self.processes}: a training has 1 or more")
        have = torch.cuda.device_count()
        if self.device == "cuda" and not have:
            raise ValueError("device 'cuda': there is none here, or torch was built without CUDA; give --device cpu")
        if self.kind == "cuda" and self.processes > have:
            raise ValueError(
                f"processes {self.processes}: each takes a GPU and {have} are here; give --processes {have}"
            )

    @property
    def kind(self) -> str:
        return ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device


@dataclass(frozen=True)
class Place:
    """One process of a training: its device, its number, and how many there are."""

    device: torch.device = CPU
    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def spread(self, net: Net, blocks: Sequence[nn.Module], backend: str = "") -> Net:
        """The network on this device, its blocks compiled by a backend, and each spread over the processes. Whoever trains it
        calls it as a whole: what is called of it alone finds its weights in parts."""
        net = net.to(self.device)
        for block in blocks if backend else ():
            block.compile(backend=backend, dynamic=False)
        if self.world_size > 1:
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.fsdp import fully_shard

            mesh = init_device_mesh(self.device.type, (self.world_size,))
            for block in blocks:
                fully_shard(block, mesh=mesh)
            fully_shard(net, mesh=mesh)
        return net

    def sum(self, values: Tensor) -> Tensor:
        """Over all processes; of numbers that have no gradient."""
        if self.world_size > 1:
            values = values.detach().clone()
            torch.distributed.all_reduce(values)
        return values

    def mean(self, values: Tensor) -> Tensor:
        return self.sum(values) / self.world_size

    def whole(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """A state's tensors in one piece, on the CPU; all processes call it."""
        return cast(dict[str, Any], _mapped(state, lambda t: t.full_tensor() if hasattr(t, "full_tensor") else t))

    def cut(self, state: Mapping[str, Any], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """An optimiser's whole state as this process holds it: moments are cut as their weights are."""
        if self.world_size == 1:
            return dict(state)
        from torch.distributed.tensor import DTensor, distribute_tensor

        weights = [p for group in optimiser.param_groups for p in group["params"]]
        made: dict[int, dict[str, Any]] = {}
        for number, moments in state["state"].items():
            weight = weights[number]
            assert isinstance(weight, DTensor), number
            mesh, places = weight.device_mesh, weight.placements
            made[number] = {
                k: distribute_tensor(v.to(self.device), mesh, places, src_data_rank=None)
                if v.shape == weight.shape
                else v
                for k, v in moments.items()
            }
        return {**state, "state": made}


ALONE = Place()


class Training(Protocol):
    """A training that may be sent to another process: a function of a module with its values bound to it."""

    def __call__(self, *, on_step: Callable[[Progress], None], place: Place) -> object: ...


def train_in_processes(machine: Machine, training: Training, on_step: Callable[[Progress], None]) -> None:
    """A training by all processes of a machine: the first one's steps are told here, and what it saves is the result.

    Raises ChildProcessError where one of them failed: the same call goes on from what was saved."""
    with tempfile.TemporaryDirectory() as meeting:
        _run_all(machine, (training, f"file://{meeting}/store"), on_step)


def _run_all(machine: Machine, given: tuple[Any, ...], on_step: Callable[[Progress], None]) -> None:
    """Starts the processes and tells of the first one's steps until all are done; none is left behind."""
    from torch import multiprocessing
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

    told = multiprocessing.get_context("spawn").SimpleQueue()
    started = start_processes(  # type: ignore[no-untyped-call]
        _process, (machine, *given, told), nprocs=machine.processes, join=False, start_method="spawn"
    )
    assert started is not None
    try:
        while not started.join(timeout=POLL_S):
            while not told.empty():
                on_step(told.get())
        while not told.empty():
            on_step(told.get())
    except (ProcessRaisedException, ProcessExitedException) as error:
        last = str(error).strip().splitlines()[-1]
        raise ChildProcessError(
            f"train: process {error.error_index + 1} of {machine.processes} failed ({last}); "
            "the same command goes on from what was saved"
        ) from error
    finally:
        for process in started.processes:
            process.terminate()
            process.join()


def _process(rank: int, machine: Machine, training: Training, meeting: str, told: Any) -> None:
    device = torch.device("cuda", rank) if machine.kind == "cuda" else CPU
    if machine.kind == "cuda":
        torch.cuda.set_device(device)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // machine.processes))
    backend = "nccl" if machine.kind == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, init_method=meeting, rank=rank, world_size=machine.processes)
    try:
        training(on_step=told.put, place=Place(device, rank, machine.processes))
        torch.distributed.barrier()  # who leaves first takes the others' connections away
    finally:
        torch.distributed.destroy_process_group()
    # All is saved and told. The interpreter's own end would destroy threads of the backend that may still run, which aborts.
    os._exit(0)


def _mapped(state: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(state, Tensor):
        return change(state.detach()).cpu()
    if isinstance(state, Mapping):
        return {k: _mapped(v, change) for k, v in state.items()}
    return [_mapped(v, change) for v in state] if isinstance(state, list) else state
