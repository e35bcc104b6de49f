"""Write-ups and reports: tables and figures as plain data, and HTML, PDF and files made from them.

`report_data` collects what a document shows, `sections` turn it into blocks, `documents` put the
sections together, `html` and `typst` render them, and `files` writes everything. `drawings` holds
all use of matplotlib. Nothing here trains, and the sections compute no statistics of their own.
"""
