"""A cleaned copy of a folder of pictures, as a fix list has it. The originals are only read or linked to.

The copy is made under a hidden name beside its place and gets its own name when it is complete: a run that is
stopped, by whatever, leaves nothing under that name, and the next one takes away what was left.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from tellapart import catalog, copies, leftovers, moves, outputs, placement
from tellapart.errors import InputError, OutputError
from tellapart.files import counted, shown
from tellapart.moves import Listed
from tellapart.placement import Placed

MARK = ".tellapart-apply.json"  # in every cleaned copy: only what holds it is ever replaced

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Applied:
    """What a cleaned copy holds."""

    folder: str  # the copy
    root: str  # the folder of the originals
    kept: int  # pictures in their own class
    dropped: int  # left out because the list says so
    moved: int  # pictures in another class than their own
    left_out: int  # files that are no pictures, or cannot be read: the list need not name them
    linked: int  # of the kept and moved: one file with the original, under two names
    copied: int  # of the kept and moved: files of their own
    renamed: int  # of the kept and moved: their name was taken, so that they got a number
    counts: dict[str, int] = field(default_factory=dict)  # class -> pictures
    notes: tuple[str, ...] = ()  # sentences about readings taken, and what to look at

    def lines(self) -> list[str]:
        """What was done, as sentences."""
        some = "" if not self.left_out else f", {self.left_out:,} left out because they cannot be used"
        said = [f"{self.kept:,} kept, {self.dropped:,} dropped, {self.moved:,} moved{some}: {shown(self.folder)}"]
        if self.linked:
            said.append(
                f"{counted(self.linked, 'picture')} of the copy {'is' if self.linked == 1 else 'are'} linked to the "
                f"original: they take no disk space, and deleting or replacing one leaves the other alone, but a "
                f"program that edits a picture in place edits both. For files of their own add --copy."
            )
        if self.renamed:
            said.append(f"{counted(self.renamed, 'picture')} got a number, because another has the same name.")
        return [*said, *self.notes]


def apply(
    photos: str | os.PathLike[str] | None,
    moves_csv: str | os.PathLike[str],
    to: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    copy: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Applied:
    """Make a cleaned copy of a folder: every picture but the dropped ones, the moved ones in their new class.

    A picture keeps its way below its class folder, and its split. With a table of labels the copy has a folder for each
    split, where there are any, and in it one for each class. What is no picture is not copied.

    Args:
        photos: the folder of pictures; None for the one that the list is about.
        moves_csv: the fix list.
        to: the copy; new or empty.
        labels, path_column, label_column, split_column: as for `catalog.scan`. Without, as the list has it.
        copy: give every picture of the copy a file of its own, instead of links where the disk allows them.
        force: replace an earlier copy that `apply` made, whole.
        progress: called with (pictures done, pictures in all).

    Raises:
        InputError: the folder or the list cannot be used; nothing was done.
        OutputError: the copy cannot be written; nothing was done.
    """
    listed = moves.read(moves_csv)
    root = os.fspath(photos) if photos is not None else listed.folder
    if root is None:
        raise InputError(f"{shown(listed.path)} does not say which folder it is about. Name the folder of pictures.")
    target = os.path.abspath(os.fspath(to))
    _check_place(target, root, listed.path, force)
    labels = labels if labels is not None or photos is not None else listed.labels
    found = catalog.scan(
        root,
        labels=labels,
        path_column=path_column,
        label_column=label_column,
        split_column=split_column,
        keep_conflicts=True,
    )
    for folder in sorted({os.path.dirname(entry.path) for entry in found.entries}):
        _check_apart(target, folder)  # a class folder may be a link to elsewhere
    planned, notes = placement.plan(found, placement.chosen(listed, found))
    if not planned:
        raise InputError(f"{shown(listed.path)} drops every picture of {shown(root)}. Keep some.")
    with outputs.reported(target), outputs.whole_folder(target) as building:
        linked, renamed = _fill(str(building), planned, copy, progress)
        counts = Counter(each.label for each in planned)
        moved = sum(each.moved for each in planned)
        result = Applied(
            folder=os.fspath(to),
            root=found.root,
            kept=len(planned) - moved,
            dropped=len(found.entries) - len(planned),
            moved=moved,
            left_out=len(found.skipped),
            linked=linked,
            copied=len(planned) - linked,
            renamed=renamed,
            counts=dict(sorted(counts.items())),
            notes=tuple(notes),
        )
        _mark(str(building), result, listed)
    return result


def _check_place(target: str, root: str, listed: str, force: bool) -> None:
    """Raise OutputError where the copy cannot or must not go."""
    if os.path.isdir(root):
        _check_apart(target, root)
    if os.path.islink(target):
        raise OutputError(f"The cleaned copy must be a folder of its own; {shown(target)} is a link. Name another one.")
    outputs.check_folder(target, force=force)
    if os.path.isdir(target):
        if os.listdir(target) and not os.path.isfile(os.path.join(target, MARK)):
            raise OutputError(
                f"--force replaces only a copy that `tellapart apply` made; {shown(target)} is none. "
                "Name another folder."
            )
        if copies.within(os.path.realpath(listed), os.path.realpath(target)):
            raise OutputError(f"The fix list lies in {shown(target)}, which would be replaced. Move the list away.")
        # It is renamed and a new one takes its place, so that the folder around it is written to.
        outputs.check(os.path.join(os.path.dirname(target), leftovers.temporary("check")))


def _check_apart(target: str, folder: str) -> None:
    inner, outer = os.path.realpath(target), os.path.realpath(folder)
    if copies.within(inner, outer) or copies.within(outer, inner):
        raise OutputError(
            f"The cleaned copy must not lie where the originals are, nor around them; {shown(target)} and "
            f"{shown(folder)} do. Name another folder."
        )


def _fill(building: str, planned: list[Placed], copy: bool, progress: Progress | None) -> tuple[int, int]:
    """Link or copy every picture. Returns how many are linked, and how many got a number."""
    linked = renamed = 0
    numbers: dict[tuple[str, ...], int] = defaultdict(lambda: 2)  # the next number of a name that is taken
    made: set[tuple[str, ...]] = set()
    for i, each in enumerate(planned):
        folder = each.way[:-1]
        if folder not in made:
            os.makedirs(os.path.join(building, *folder), exist_ok=True)
            made.add(folder)
        for number, name in copies.numbered(each.way[-1], numbers[each.way]):
            try:
                linked += _linked(each.source, os.path.join(building, *folder, name), copy)
            except FileExistsError:
                continue
            if number > 1:
                renamed += 1
                numbers[each.way] = number + 1
            break
        if progress is not None:
            progress(i + 1, len(planned))
    return linked, renamed


def _linked(source: str, place: str, copy: bool) -> bool:
    """Link a picture to its place, or copy it there. Returns whether it is linked. Raises FileExistsError."""
    if not copy:
        try:
            os.link(os.path.realpath(source), place)  # a link to the file, not to a symbolic link that names it
            return True
        except FileExistsError:
            raise
        except OSError:
            pass  # another disk, a disk without links, or a file of somebody else's
    try:
        opened = copies.opened(source)
    except OSError as error:
        raise _gone(source, error) from error
    with opened:
        try:
            copies.write(opened, place)
        except copies.SourceError as error:
            raise _gone(source, error) from error
    return False


def _gone(source: str, error: Exception) -> InputError:
    return InputError(f"{shown(source)} can no longer be read: {error}. Nothing was done; run it again.")


def _mark(building: str, result: Applied, listed: Listed) -> None:
    """Leave a word on what the copy is; its name is hidden, so that no reading takes it for a picture."""
    about = {
        "made_by": "tellapart apply",
        "from": os.path.abspath(result.root),
        "list": os.path.abspath(listed.path),
        **{name: getattr(result, name) for name in ("kept", "dropped", "moved", "left_out", "linked", "copied")},
    }
    text = json.dumps(about, ensure_ascii=False, indent=2) + "\n"
    outputs.new_file(os.path.join(building, MARK), text.encode("utf-8", "backslashreplace"))
