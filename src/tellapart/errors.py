"""Every error that a person can meet, as one tree.

::

    TellapartError              one base: the command line turns it into one line, never a traceback
    ├── SettingsError           a setting is outside its range (exit status 2; all others 1)
    ├── InputError              a folder, a table of labels, or its classes cannot be used
    ├── PictureError            one picture cannot be read; `reason` says why
    ├── BundleError             a file is not a bundle, is damaged, or is of another version
    ├── BackboneError           pretrained weights are not the ones that were checked
    ├── ExportError             a bundle cannot be had in a format, or does not answer there as it does itself
    ├── OutputError             a result cannot be written: it exists, or the disk refuses
    ├── ClusterError            workers elsewhere cannot be reached, or cannot do what is asked
    ├── HostsError              another host of a training has ended, or cannot take part
    └── MissingPackageError     an optional package is needed and not installed

A message says what must hold, what came, and what to do.
"""

from __future__ import annotations


class TellapartError(Exception):
    """The base of every error that is meant for a person."""


class SettingsError(TellapartError):
    """A setting is outside its declared range."""


class InputError(TellapartError):
    """A folder, a table of labels, or the classes found in it cannot be used."""


class PictureError(TellapartError):
    """One picture cannot be read.

    `reason` is a short clause without the path ("empty file (0 bytes)"), fit for a list of
    skipped files, where the path stands beside it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BundleError(TellapartError):
    """A file is not a bundle, is damaged, or has a format version that is not known here."""


class BackboneError(TellapartError):
    """Pretrained weights are not the ones that were checked, or not of a form that is known here."""


class ExportError(TellapartError):
    """A bundle cannot be had in a format, or what was written does not answer as the bundle does."""


class OutputError(TellapartError):
    """A result cannot be written: its path exists, its folder does not, or the disk refuses."""


class ClusterError(TellapartError):
    """Workers on other machines cannot be reached, or cannot do what is asked of them."""


class HostsError(TellapartError):
    """Another process of a training on several hosts has ended, cannot be reached, or cannot take part."""


class MissingPackageError(TellapartError):
    """An optional package is needed for what was asked, and is not installed."""
