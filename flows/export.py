"""A published checkpoint as an ONNX graph: in a file, or beside the checkpoint, where a server finds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modeling.made_motion import network, refuse_not_live
from store import registry
from store.workspace import Workspace, open_workspace


def run_export(workspace_root: str | Path | None, checkpoint: str, out: Path | None = None) -> dict[str, Any]:
    """Exports a checkpoint; gives {"checkpoint", "kind", "path", "num_bytes", "most_apart"}, the last its distance from torch.

    Raises ValueError for an unknown checkpoint or one of another kind, a file that is not called .onnx, a missing package, and
    a graph that says something else than the network.
    """
    from modeling.export import OnnxNet, export, most_apart

    if out is not None and out.suffix != ".onnx":
        raise ValueError(f"{out.name}: an exported network is a file of .onnx; name it so")
    workspace = open_workspace(workspace_root)
    found = registry.load(workspace, checkpoint)
    if found.told["kind"] == "renderer":
        from flows.renderer import run_export_renderer

        return run_export_renderer(workspace, found, out)
    refuse_not_live(found)
    net = network(found)
    graph = export(net, about(found))
    apart = most_apart(net, OnnxNet(graph, net.recipe))
    path = written(workspace, found, graph, out)
    return {
        "checkpoint": found.id,
        "kind": found.told["kind"],
        "path": path,
        "num_bytes": len(graph),
        "most_apart": apart,
    }


def about(found: registry.Checkpoint) -> dict[str, object]:
    """What a graph says of itself."""
    told = found.told
    return {
        "checkpoint": found.id,
        "weights_sha256": told["weights_sha256"],
        "snapshot": told["snapshot"]["id"],
        "licences": told["data"]["licences"],
        "commit": told["code"]["commit"],
    }


def written(workspace: Workspace, found: registry.Checkpoint, graph: bytes, out: Path | None) -> str:
    """Where the graph lies now: in the file, or beside its checkpoint, where a server finds it."""
    if out is None:
        return workspace.objects.uri(workspace.objects.put_bytes(graph, registry.exported_key(found.id)))
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    part.write_bytes(graph)
    part.replace(out)
    return str(out)
