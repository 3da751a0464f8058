"""A folder of files as a store: the only writer of files."""

from __future__ import annotations

import errno
import functools
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralib.persistence import _disk, _scan
from neuralib.persistence._bytes.sources import BytesSource, Source
from neuralib.persistence._classes.name_texts import problem_of_whole
from neuralib.persistence._core import is_plain_name
from neuralib.persistence._os_errors import explained, explaining
from neuralib.persistence._stores import files, leftovers, system
from neuralib.persistence._stores.base import (
    CHANGED,
    LEFTOVER_PREFIX,
    Content,
    Put,
    Replace,
    Stat,
    Store,
    problem_of_name,
    refuse_name,
    refused_content,
)
from neuralib.persistence._stores.drafts import FolderDraft, HookDraft, replace_whole
from neuralib.persistence._stores.files import no_file, open_file, stat_of_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

STALE_AFTER_S = 24 * 3600.0
"""From this age on, a leftover is taken for a killed process's: a live one's draft is seconds old, or is being written."""

_GROUP_RESULTS = 500  # drafts that wait for the disk together: each is an open file until it is put
_MOST_TAILS = 8  # that the compiled scan looks for at once
_ROOM = 8  # open files that are left for others
_NO_FILE = (-1, 0)  # mode and owner of what is no file, such as a link
_NO_MORE_FILES = {errno.EMFILE, errno.ENFILE}


class FolderStore(Store):
    """The files of one folder, which is made when the first result is saved.

    :param root: the folder; ``~`` is the home folder. A relative one is that of the current folder when this is made
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = system.absolute(root)
        self.url = self.root
        self.prefix = system.joined(self.root, "")  # of the path of every name
        self.held: _disk.OpenFile | None = None
        """The folder itself while it is kept open: see :meth:`hold`."""
        self._replaces = False  # whether the last put found its name taken: the next one then looks before it writes

    def __repr__(self) -> str:
        return f"FolderStore({self.root!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "held": None}

    # ------------------------------------------------------------------------------------------ writing

    def put(self, name: str, content: Content, /, *, replace: Replace = False, durable: bool = False) -> None:
        """Store *content* under *name*: see :class:`~neuralib.persistence.stores.Store`."""
        if not is_plain_name(name):
            self._refuse(name)
        if type(content) is bytes and not durable and self._put_small(name, content, replace):
            return
        self._publish(name, self._draft_of(content, durable=durable), replace)

    def _put_small(self, name: str, content: bytes, replace: Replace) -> bool:
        """Store the small *content* in few system calls; return False where the system can't, and nothing was changed."""
        path = self.prefix + name
        there = None
        if self._replaces and replace:
            there = self._allow_replacing(name, replace)
            self._replaces = there is not None
        if there is None:
            try:
                return system.publish_whole(self.root, path, content, makes_folder=True) is not None
            except FileExistsError:
                if not replace:
                    raise
            there = self._allow_replacing(name, replace) or _NO_FILE
            self._replaces = True
        replace_whole(self.root, path, content, *there)
        return True

    def put_if(self, name: str, content: Content, expected: Any, /, *, durable: bool = False) -> Any:
        """Store *content* under the new name *name*, unless the folder has changed: in one step where it is small.

        This brings *expected* up to date, and returns it. So threads can expect the same state.
        """
        if not is_plain_name(name):
            self._refuse(name)
        if type(content) is bytes and not durable:
            stamp = system.publish_whole(self.root, self.prefix + name, content, True, expected, self.held)
            if stamp is not None:
                if stamp is _disk.CHANGED:
                    self.release()  # another folder may have the path by now
                    return CHANGED
                return stamp
        if expected is not None and type(content) is bytes:
            now = self.state()
            if now is None or not expected.is_unchanged(now):
                return CHANGED
        draft = self._draft_of(content, durable=durable)
        is_known = True  # whether nobody else saved since the state was the expected one
        try:
            if expected is not None:
                # A large result is put even where others have saved meanwhile: else they could keep it from that for ever.
                if durable:
                    draft.finish()
                now = self.state()
                is_known = draft.has_hidden_name or (now is not None and expected.is_unchanged(now))
            draft.publish_new(name)
        finally:
            draft.discard()
        return self.state() if is_known else None

    def _draft_of(self, content: Content, *, durable: bool = False) -> FolderDraft | HookDraft:
        if isinstance(content, (FolderDraft, HookDraft)):
            if durable:
                content.durable = True
            return content
        if not isinstance(content, bytes):
            raise refused_content(content)
        draft = self.draft(durable=durable)
        draft.write(content)
        return draft

    def _publish(self, name: str, draft: FolderDraft | HookDraft, replace: Replace) -> None:
        """Give *draft* the name *name*, also in place of what has it, unless *replace*, given what is there, raises an error."""
        try:
            draft.publish_new(name)
        except FileExistsError:
            if not replace:
                raise
            self._allow_replacing(name, replace)
            draft.publish_over(name)
        finally:
            draft.discard()

    def _allow_replacing(self, name: str, replace: Replace) -> tuple[int, int] | None:
        """Raise an error where *name* is no file, or where *replace*, given what is there, raises one.

        :return: the mode and the owner of what is there; None where there is nothing
        """
        path = self.prefix + name
        if callable(replace) and (small := _disk.read_former(path, files.SMALL_BYTES)) is not None:
            data, mode, owner = small
            replace(BytesSource(data))
            return mode, owner
        found = system.refuse_special(path)
        if found is None:
            return None
        if callable(replace):
            there = self._former(name)
            if there is not None:
                try:
                    replace(there)
                finally:
                    with suppress(OSError):  # where closing fails, nothing is lost: all that was asked for was read
                        there.close()
        return (found.st_mode, found.st_uid) if stat.S_ISREG(found.st_mode) else _NO_FILE

    def _former(self, name: str) -> Source | None:
        """Return the content of the file *name*; None where there is none by now, or a link to none."""
        path = self.prefix + name
        try:
            return self.open(name)
        except (FileNotFoundError, IsADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.EINVAL and system.endless_kind(path):
                return None  # a link to a pipe or a device
            raise explained(error, "looking at the former result", path) from error

    def put_many(
        self, puts: Sequence[Put], outcomes: list[Exception | None] | None = None, /, *, durable: bool = False
    ) -> list[Exception | None]:
        """Store several contents; where they are *durable*, they wait for the disk together."""
        outcomes = [] if outcomes is None else outcomes
        if not durable and all(put.time_ns is None for put in puts):
            return super().put_many(puts, outcomes)
        while len(outcomes) < len(puts):
            self._put_together(puts[len(outcomes) :], outcomes)
        return outcomes

    def _put_together(self, puts: Sequence[Put], outcomes: list[Exception | None]) -> None:
        """Write as many of *puts* as may be open files at a time, wait for the disk once, and give them their names."""
        drafts: list[FolderDraft | HookDraft] = []
        before = len(outcomes)
        try:
            for put in puts[: self.group_size()]:
                try:
                    draft = self._draft_of(put.content)
                    drafts.append(draft)
                    if put.time_ns is not None and isinstance(draft, FolderDraft):
                        draft.set_status(put.mode, put.time_ns)
                    draft.finish()
                except OSError as error:
                    if error.errno not in _NO_MORE_FILES or not _make_room(drafts, puts):
                        raise
                    break
            self._sync(drafts, puts)
            for put, draft in zip(puts, drafts, strict=False):
                outcomes.append(self._named(put, draft))
        finally:
            try:
                if len(outcomes) > before:
                    system.sync_names(self.root)
            finally:
                for put, draft in zip(puts, drafts, strict=False):
                    if draft is not put.content:  # else it may be put again
                        draft.discard()

    def _sync(self, drafts: list[FolderDraft | HookDraft], puts: Sequence[Put]) -> None:
        """Wait for the disk once; where no more files can be opened, discard the last of *drafts* first."""
        try:
            sync_drafts(self.root, drafts)
        except OSError as error:
            if error.errno not in _NO_MORE_FILES or not _make_room(drafts, puts):
                raise
            sync_drafts(self.root, drafts)

    def _named(self, put: Put, draft: FolderDraft | HookDraft) -> OSError | None:
        """Give *draft* its name; return the error where others have it."""
        if not is_plain_name(put.name):
            self._refuse(put.name)
        try:
            self._publish(put.name, draft, put.replace)
        except FileExistsError as error:
            if put.replace:
                raise
            return error
        return None

    def _refuse(self, name: str) -> None:
        """Raise an error where no file in the folder can have the name *name*.

        :raises OSError: it leads out of the folder, or the system has no such name
        """
        refuse_name(self, name, _problem_of(name))

    def draft(self, *, durable: bool = False) -> FolderDraft:
        """Return a new draft; the disk is not touched before it has a megabyte, or is put.

        :param durable: let its publication return only when it would survive a loss of power
        """
        return FolderDraft(self.root, durable=durable)

    def draft_by_hook(self, write: Callable[[Path], None], name: str, *, durable: bool = False) -> HookDraft:
        """Return a draft of the files that *write* writes; it gets a path that ends with *name*."""
        self._refuse(name)
        return HookDraft(self.root, write, name, durable=durable)

    def sync(self, names: Iterable[str], /) -> None:
        """Write the files *names*, and their names, through to the disk."""
        for name in names:
            system.sync_all(self._path_of(name))
        system.sync_names(self.root)

    def delete(self, name: str, /) -> None:
        """Remove the file *name*."""
        path = self._path_of(name)
        with explaining("deleting a result", path):
            os.unlink(path)

    def hold(self) -> None:
        """Keep the folder open, if it is there, so that saving into it takes less time.

        Until :meth:`release`: an open folder keeps its disk from being unmounted.
        """
        if system.TMPFILE and self.held is None:
            try:
                self.held = _disk.OpenFile(self.root, system.FOLDER)
            except OSError:
                pass  # it is not there yet, or saving will tell

    def release(self) -> None:
        """Keep the folder open no more: not even while somebody keeps an error, whose traceback holds all that it saw."""
        held, self.held = self.held, None
        if held is not None:
            try:
                held.close()  # a thread that is just looking at it finds it changed
            except OSError:
                pass  # nothing was written by it

    def group_size(self) -> int:
        """Return how many drafts may be open files at a time."""
        return min(_GROUP_RESULTS, max(_open_files() // 2, 1))

    # ------------------------------------------------------------------------------------------ reading

    def open(self, name: str, /) -> Source:
        """Return the content of the file *name*."""
        return open_file(self._path_of(name))

    def open_to_map(self, name: str, /) -> Source:
        """Return the content of the file *name*: read already where it is too small to be mapped, else as an open file."""
        return open_file(self._path_of(name), to_map=True)

    def _path_of(self, name: str) -> str:
        """Return the path of the file *name*.

        :raises FileNotFoundError: no file in the folder can have this name
        """
        if not is_plain_name(name) and _problem_of(name) is not None:
            raise no_file(self.prefix + name)
        return self.prefix + name

    @functools.cached_property
    def _folder(self) -> Path:
        return Path(self.root)  # made late, since pathlib takes longer than all else that a new store needs

    def path(self, name: str, /) -> Path:
        """Return the path of *name*."""
        return self._folder.joinpath(name)  # which takes less time than "/"

    def location(self, name: str, /) -> str:
        """Return the path of *name*."""
        return self.prefix + name

    def local_folder(self) -> str:
        """Return the folder."""
        return self.root

    def names(self, prefix: str = "", /) -> list[str]:
        """Return the names of all files, leftovers of killed processes excluded."""
        try:
            found = os.listdir(self.root)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise explained(error, "listing the folder", self.root) from error
        if prefix:
            return [name for name in found if name.startswith(prefix) and not name.startswith(LEFTOVER_PREFIX)]
        return [name for name in found if not name.startswith(LEFTOVER_PREFIX)]

    def stat(self, name: str, /) -> Stat:
        """Return what is known of the file *name*; a link is not followed."""
        return stat_of_file(os.lstat(self._path_of(name)))

    def highest(self, head: str, tail: str, /) -> int:
        """Return the highest number between *head* and *tail* in the names of the folder, or -1."""
        return self.highest_among(head, (tail,))

    def highest_among(self, head: str, tails: tuple[str, ...], /) -> int:
        """Return the highest number between *head* and one of *tails* in the names of the folder, or -1.

        Sweeps stale leftovers where it comes across some.
        """
        try:
            parts = [tails[start : start + _MOST_TAILS] for start in range(0, len(tails), _MOST_TAILS)]
            found = [_scan.scan_folder(self.root, head, part, LEFTOVER_PREFIX) for part in parts]
        except (FileNotFoundError, UnicodeEncodeError):  # or no file can have such names
            return -1
        except OSError as error:
            raise explained(error, "listing the folder for its highest number", self.root) from error
        if found[0][1]:
            with suppress(OSError):  # another save comes across them
                self.sweep()
        return max(number for number, _ in found)

    def state(self) -> _disk.Stamp | None:
        """Return what tells whether names come or go later; None where the folder is not there."""
        return _disk.folder_stamp(self.root)

    def has(self, name: str, /) -> bool:
        """Return whether there is something under *name*, a broken link included."""
        try:
            return system.is_there(self._path_of(name))
        except FileNotFoundError:  # nothing can have such a name
            return False
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # nothing can have such a name
                return False
            raise explained(error, "looking for a result", self.prefix + name) from error

    def sweep(self, older_than_s: float = STALE_AFTER_S, /) -> list[str]:
        """Remove what killed processes of this user left behind; return the names.

        :param older_than_s: leave what was changed less than this many seconds ago: its process may be alive
        """
        try:
            return leftovers.sweep(self.root, time.time() - older_than_s)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise explained(error, "listing the folder for leftovers", self.root) from error


def _problem_of(name: str) -> str | None:
    """Return why no file in a folder can have the name *name*; None where one can."""
    return problem_of_name(name) or problem_of_whole(name)


def _make_room(drafts: list[FolderDraft | HookDraft], puts: Sequence[Put]) -> bool:
    """Discard the last drafts, which can be written again, since waiting for the disk takes an open file too.

    :return: whether some drafts are left
    """
    for _ in range(_ROOM):
        if drafts and type(puts[len(drafts) - 1].content) is bytes:
            drafts.pop().discard()
    return bool(drafts)


def sync_drafts(root: str, drafts: Sequence[FolderDraft | HookDraft]) -> None:
    """Write what *drafts* hold through to the disk: the whole file system at once, where the system can."""
    if drafts and not system.sync_file_system(root):
        for draft in drafts:
            draft.sync()


def _open_files() -> int:
    """Return how many files this process may have open."""
    try:
        import resource
    except ImportError:
        return 512  # as Windows has it by default
    limit: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit if limit != resource.RLIM_INFINITY else 2 * _GROUP_RESULTS
