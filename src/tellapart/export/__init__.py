"""A bundle to a folder that answers without this package, in a runtime of the user's choice.

`exporting.export` does it: a format's module writes the model into a temporary folder, `sidecar` adds what goes along,
`sampletext` the sample program, `gate` has the folder's own program answer the golden pictures; only then the folder
gets its name. What a format is stands in `formats.FORMATS`; its module, imported late, has

    write(bundle: Bundle, folder: Path, *, calibration: Calibration | None) -> formats.Written
        Write the model's files into `folder`, in int8 where there are pictures that calibrate. `tellapart.json`,
        `sample.py`, `requirements.txt` and `README.md` come from `sidecar`.

and, where no `sample.py` answers for it (web: a page in a browser),

    answers(folder: Path, pictures: Sequence[Path]) -> list[dict]
        What the folder says of each picture (PNG files), with the keys of `sample.py`, in order, by its real runtime
        and without this package. Raises ExportError where it says nothing.

A sample is a data file in `samples/`, a plain program. Functions that several of them need stand once in
`samples/shared.py`; the line `from shared import read, answered` is replaced by their text, with their imports. The
names of these files begin with `sample_`, so that none is called like the package that it imports.
"""
