"""Files of a class brought to today's names and fields, each whole or not at all."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralib.persistence._classes.unknown import fields_to_save
from neuralib.persistence._equality import same_value
from neuralib.persistence._errors import AutoIncFieldNotResolvedError, ContractError, NameTakenError
from neuralib.persistence._finding import tables
from neuralib.persistence._finding.former import has_class_in_name, is_of_class, may_be_former
from neuralib.persistence._finding.listing import take_default
from neuralib.persistence._keeping import batches
from neuralib.persistence._messages import shown
from neuralib.persistence._stores.base import Put, Replace, is_deleted, listed, stat_of
from neuralib.persistence._stores.moving import Copy, moved, refuse_replaced

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from neuralib.persistence._codecs.card import Card
    from neuralib.persistence._keeping.keeper import Keeper
    from neuralib.persistence._stores.base import Stat, Store


class Move(NamedTuple):
    """What became, or would become, of one file."""

    path: PurePath
    """Where it was."""
    target: PurePath | None
    """Where today's names put it; None where that is not known."""
    outcome: str
    """``moved``: it got its name of today. ``updated``: it has the fields of today. ``merged``: the same result was there
    already, so the old file went. ``taken``: another result has the name; nothing was changed. ``failed``: see
    :attr:`problem`; nothing was changed."""
    problem: str = ""


class Migration(tables.Rows[Move]):
    """What became of the files that :meth:`PersistenceHandler.migrate` found: a sequence of moves."""

    def __init__(self, moves: list[Move], *, dry_run: bool) -> None:
        super().__init__(moves)
        self.dry_run = dry_run
        """Whether nothing was changed."""

    def __repr__(self) -> str:
        counts = [f"{len(moves)} {outcome}" for outcome, moves in self.by_outcome().items()]
        done = "would be: " if self.dry_run and counts else ""
        return f"<Migration: {done}{', '.join(counts) or 'nothing to do'}>"

    def by_outcome(self) -> dict[str, list[Move]]:
        """Return the moves by their outcomes."""
        found: dict[str, list[Move]] = {}
        for move in self._rows:
            found.setdefault(move.outcome, []).append(move)
        return found

    @property
    def problems(self) -> list[Move]:
        """The files that stay as they are: those whose names are taken, and those that failed."""
        return [move for move in self._rows if move.outcome in {"taken", "failed"}]

    def to_columns(self) -> dict[str, list[Any]]:
        """Return the moves as a table of texts."""
        return {
            "path": [str(move.path) for move in self._rows],
            "target": [None if move.target is None else str(move.target) for move in self._rows],
            "outcome": [move.outcome for move in self._rows],
            "problem": [move.problem for move in self._rows],
        }


class _Planned(NamedTuple):
    """A file that is not as it would be saved today."""

    name: str
    before: Stat
    store: Store
    target: str


def migrate(
    keeper: Keeper[Any],
    *,
    dry_run: bool,
    class_names: Collection[str] = (),
    only: Collection[str] | None = None,
    progress: bool = False,
) -> Migration:
    """Bring the files of the class to today's names and fields: see :meth:`PersistenceHandler.migrate`.

    :param only: the names of the files that are looked at; None for all
    """
    names = may_be_former(keeper, listed(keeper.store))
    if only is not None:
        names = [name for name in names if name in only]
    moves: list[Move] = []
    foreseen: dict[str, Move] = {}
    with batches.bar(names, progress, "files") as shown_names:
        copies = _copies(keeper, shown_names, class_names, moves, None if dry_run else foreseen)
        for copy, problem in moved(keeper.store, copies):
            move = foreseen.pop(copy.name)
            if problem is not None:
                outcome = "taken" if isinstance(problem, FileExistsError) else "failed"
                move = move._replace(outcome=outcome, problem=str(problem))
            moves.append(move)
    moves.sort(key=lambda move: str(move.path))
    return Migration(moves, dry_run=dry_run)


def _copies(
    keeper: Keeper[Any],
    names: Iterable[str],
    class_names: Collection[str],
    moves: list[Move],
    foreseen: dict[str, Move] | None,
) -> Iterator[Copy]:
    """Yield the new contents of those of *names* that need one.

    :param moves: gets what becomes of the others
    :param foreseen: gets by name what will become of these; None to change nothing, and to let *moves* get all
    """
    targets: set[str] = set()
    for name in names:
        try:
            planned = _planned(keeper, name, class_names)
            if planned is None:
                continue
            move = _foreseen(keeper, planned, targets)
            targets.add(planned.store.location(planned.target))
            if foreseen is None or move.outcome == "taken":
                moves.append(move)
            elif move.outcome == "merged":
                is_deleted(keeper.store, name, planned.before.version)
                moves.append(move)
            else:
                foreseen[name] = move
                yield _copy(keeper, planned, move.outcome)
        except FileNotFoundError:
            continue  # it was moved or removed meanwhile
        except ContractError:
            raise
        except Exception as error:
            if has_class_in_name(keeper.info, name, class_names):
                moves.append(_failed(keeper, name, error))


def _failed(keeper: Keeper[Any], name: str, error: Exception) -> Move:
    return Move(keeper.store.path(name), None, "failed", str(error))


def _planned(keeper: Keeper[Any], name: str, class_names: Collection[str]) -> _Planned | None:
    """Return what has to be done with the file *name*; None where it is of another class, or as it would be saved today.

    :raises PersistenceError: that can't be told
    """
    before = stat_of(keeper.store, name)
    head = keeper.records.about(keeper.store, name)
    if not is_of_class(keeper.info, name, head, class_names):
        return None
    keys = _keys_in(keeper, name)
    store, target = keeper.place_by(None, keys)
    if store.url == keeper.store.url and target == name and not _has_former_fields(keeper, head.card):
        return None
    return _Planned(name, before, store, target)


def _keys_in(keeper: Keeper[Any], name: str) -> dict[str, Any]:
    """Return the keys in the file *name*, or their defaults, as the class has them today.

    :raises AutoIncFieldNotResolvedError: it has no number
    """
    info = keeper.info
    names = [declared.field_name for declared in info.named_fields]
    fields = keeper.records.for_former().fields(keeper.store, name, names)
    keys = {each: fields[each] for each in names if each in fields}
    for declared in info.named_fields:
        if declared.field_name not in keys:
            take_default(keys, declared)
    autoinc = info.layout.autoinc
    if autoinc is not None and keys.get(autoinc) is None:
        raise AutoIncFieldNotResolvedError(info.persistence_cls, autoinc, f"{name} holds a result without a number")
    return keys


def _has_former_fields(keeper: Keeper[Any], card: Card | None) -> bool:
    """Return whether the fields in a file with *card* are not those that the class has today."""
    if card is None:
        return False
    return card.version != keeper.info.version or not keeper.info.former_names.keys().isdisjoint(card.fields)


def _foreseen(keeper: Keeper[Any], planned: _Planned, targets: set[str]) -> Move:
    """Return what will become of a file, as far as names tell; where its name is taken, both results are compared."""
    source, target = keeper.store.path(planned.name), planned.store.path(planned.target)
    if planned.target == planned.name and planned.store.url == keeper.store.url:
        return Move(source, target, "updated")
    if planned.store.location(planned.target) in targets:
        return Move(source, target, "taken", "another file gets the same name")
    if not planned.store.has(planned.target):
        return Move(source, target, "moved")
    mine = fields_to_save(keeper.records.for_former().load(keeper.store, planned.name))
    theirs = fields_to_save(keeper.load(planned.store, planned.target))
    if same_value(mine, theirs):
        return Move(source, target, "merged")
    info = keeper.info
    keys = [
        {declared.field_name: shown(fields.get(declared.field_name)) for declared in info.key_fields()}
        for fields in (mine, theirs)
    ]
    problem = NameTakenError(info.persistence_cls.__qualname__, planned.store.location(planned.target), *keys)
    return Move(source, target, "taken", str(problem))


def _copy(keeper: Keeper[Any], planned: _Planned, outcome: str) -> Copy:
    """Make the new content of a file."""
    name, before, store, target = planned
    result = keeper.records.for_former().load(keeper.store, name)
    content = keeper.records.content(result, store, target, durable=False)

    def verify(taken: Exception | None) -> None:
        if taken is not None:
            raise taken
        if outcome == "moved":
            keeper.records.check(store, target)  # before the only other copy goes

    # What is updated keeps its name, under which others may save meanwhile.
    replace: Replace = outcome == "updated" and (lambda _there: refuse_replaced(store, target, before))
    return Copy(name, before, store, Put(target, content, replace), verify)
