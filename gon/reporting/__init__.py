"""The report: claim results and templates in, a page and a PDF out. Nothing here imports torch.

One module per step: `collect` reads and checks the results, `describe` finds what can be said about
them, `prose` renders the text once for both targets, `notebook`, `page` and `print` make the files,
and `build` puts them in place.
"""
