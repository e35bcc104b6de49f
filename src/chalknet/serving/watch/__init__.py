"""A page that follows a study or a training in the browser, and that refreshes by itself.

`sources` read what the page shows, and write nothing. `app` answers the requests of browsers: the page,
and its content as JSON. `assets` is the page. This package imports no module that trains.
"""
