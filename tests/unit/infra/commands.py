"""Whether a command line in a manifest is one that its program takes: parsed, not run."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any


def accepted(words: Sequence[str]) -> dict[str, Any]:
    """The values that the program would get. Raises whatever it raises for words that it does not take."""
    program, *rest = [w.replace("$(POD_IP)", "10.0.0.7") for w in words]
    if program == "headroom":
        import typer.main

        from headroom.command import app

        return _click(typer.main.get_command(app), rest)
    if program == "dask":
        kind, *rest = rest
        module = {"worker": "dask_worker", "scheduler": "dask_scheduler"}[kind]
        told = _click(importlib.import_module(f"distributed.cli.{module}").main, rest)
        # Dask hands options that it does not know to preloaded modules; ours take none.
        assert not told.get("preload_argv"), f"unknown: {told['preload_argv']}"
        return told
    if program == "python":
        assert rest[0] == "-m", words
        return _module(rest[1], rest[2:])
    if program == "prefect":
        return _prefect(rest)
    raise AssertionError(f"no program of ours: {program}")


def _click(command: Any, words: Sequence[str]) -> dict[str, Any]:
    with command.make_context("it", list(words), resilient_parsing=False) as context:
        told = dict(context.params)
        words = [*getattr(context, "_protected_args", ()), *context.args]
        if not hasattr(command, "commands") or (command.invoke_without_command and not words):
            return told
        name, sub, rest = command.resolve_command(context, words)
        assert sub is not None, f"{name} is no command"
        return _click(sub, rest)


def _module(name: str, words: Sequence[str]) -> dict[str, Any]:
    """Modules of ours take arguments by argparse in `main`; they are stopped where they would begin to work."""
    import argparse
    from unittest.mock import patch

    spec = importlib.util.find_spec(name)
    assert spec is not None, f"there is no module {name}"
    module = importlib.import_module(name)
    held: list[argparse.Namespace] = []
    parse = argparse.ArgumentParser.parse_args

    class ParsedError(Exception):
        pass

    def parsed(self: Any, arguments: Any = None, namespace: Any = None) -> Any:
        held.append(parse(self, arguments, namespace))
        raise ParsedError

    with patch.object(argparse.ArgumentParser, "parse_args", parsed):
        try:
            module.main(list(words))
        except ParsedError:
            return vars(held[0])
    raise AssertionError(f"{name} takes no arguments")


def _prefect(words: Sequence[str]) -> dict[str, Any]:
    app = importlib.import_module("prefect.cli._app")._app
    rest = [w for w in words if w != "--no-prompt"]  # of the program, before any command
    command, bound, *_ = app.parse_args(rest, exit_on_error=False, print_error=False)
    return {"command": command.__name__, **bound.arguments}
