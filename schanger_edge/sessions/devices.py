"""Which engine a device's name stands for, and what `auto` takes; see `register` for the engines there are."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from schanger_edge.errors import SchangerError, SessionError
from schanger_edge.model.file import ModelFile, read_model
from schanger_edge.sessions import gpu, register
from schanger_edge.sessions.engine import Auto, Engine, OtherGraphError, SessionOptions
from schanger_edge.sessions.gpu import NO_DRIVER
from schanger_edge.sessions.register import AUTO, device_names
from schanger_edge.sessions.session import Session
from schanger_edge.sessions.trial import verdict


def open_on(model: str | PathLike[str] | ModelFile, device: str, options: SessionOptions) -> Session:
    """See `sessions.open_session`."""
    if device not in device_names():
        raise SessionError(f"device {device!r} is unknown: use {', '.join(device_names())}.")
    if not isinstance(model, ModelFile):
        for engine in register.ENGINES:
            if engine.own_files and Path(model).suffix == engine.own_files.suffix:
                return _open_own_file(engine, Path(model), device, options)
    model = read_model(model)
    if device == AUTO:
        session, chosen = _automatic(model, options)
    else:
        session, chosen = _named(model, device, options), f"device {device}, as requested"
        session.prepare()
    session.chosen = chosen
    return session


def usable_engine() -> str:
    """What `auto` would take, in words, without opening or building anything."""
    reasons = [] if gpu.driver_present() else [NO_DRIVER]
    for engine in _with(Auto.ON_GPU) if not reasons else []:
        try:
            words = engine.usable() if engine.usable else engine.words
        except SessionError as error:
            reasons.append(str(error))
        else:
            return ": ".join(filter(None, (words, " ".join(reasons))))
    names = [engine.words for engine in (*_with(Auto.REFERENCE), *_candidates())]
    trial = ", whichever a short trial finds faster" if len(names) > 1 else ""
    return f"{' or '.join(names)} on the CPU{trial}: {' '.join(reasons)}"


def _named(model: ModelFile, device: str, options: SessionOptions) -> Session:
    """A session on this device; of a graph that its engine does not compute, on the reference, and a note says so."""
    opener = next(engine.devices[device] for engine in register.ENGINES if device in engine.devices)
    try:
        return opener(model, options)
    except OtherGraphError as error:
        (reference,) = _with(Auto.REFERENCE)
        session = reference.open(model, options)
        session.notes.append(f"{error}: {reference.words} runs it.")
        return session


def _open_own_file(engine: Engine, path: Path, device: str, options: SessionOptions) -> Session:
    assert engine.own_files is not None
    if device not in (AUTO, *engine.devices):
        raise SessionError(
            f"{path.name} is a {engine.own_files.words}, which only runs with --device {engine.main_device}."
        )
    session = engine.own_files.open(path, options)
    session.chosen = f"a {engine.own_files.suffix.removeprefix('.')} only runs with {engine.words}"
    return session


def _automatic(model: ModelFile, options: SessionOptions) -> tuple[Session, str]:
    """The first GPU engine that opens, else the CPU; and why.

    The first note says what is in the way of better; where no driver answers that is for doctor to say.
    """
    reasons: list[str] = []
    for engine in _with(Auto.ON_GPU) if gpu.driver_present() else []:
        try:
            session = engine.open(model, options)
        except SchangerError as error:
            reasons.append(str(error))
            continue
        session.notes[:0] = reasons
        return session, f"auto: {' '.join(reasons) or 'the first choice is available'}"
    session, found = _fastest_on_cpu(model, options)
    reasons += [f"{words}." for words in found]
    told = f": {' '.join(reasons)}" if reasons else ""
    session.notes.insert(0, f"running on the CPU ({session.card.precision}){told}")
    return session, f"auto: the CPU{told}"


def _fastest_on_cpu(model: ModelFile, options: SessionOptions) -> tuple[Session, list[str]]:
    """The reference, or the fastest of the engines that are exact enough and faster; and what each trial found."""
    (first,) = _with(Auto.REFERENCE)
    reference = taken = first.open(model, options)
    least, found = 1.0, list[str]()
    for engine in _candidates():
        candidate: Session | None = None
        try:
            candidate = engine.open(model, options)  # not prepared yet: a remembered verdict needs no more
            result = verdict(reference, candidate, engine.words)
            if result.taken and result.difference <= engine.parity and result.ratio < least:
                candidate.prepare()
                least, taken, candidate = result.ratio, candidate, taken
            found.append(result.words(engine.words, first.words))
        except SchangerError as error:
            found.append(str(error).removesuffix("."))
        if candidate is not None and candidate is not reference:
            candidate.close()
    if taken is not reference:
        reference.close()
    return taken, found


def _with(auto: Auto) -> list[Engine]:
    return [engine for engine in register.ENGINES if engine.auto is auto]


def _candidates() -> list[Engine]:
    return [engine for engine in _with(Auto.IF_FASTER) if engine.installed()]
