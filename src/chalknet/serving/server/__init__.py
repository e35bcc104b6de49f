"""HTTP servers of chalknet: who may ask, what a request may cost, and how a server starts and stops.

`access` decides who may use a server, `guard` checks each request before an application sees it, and
`running` binds a socket and runs the application with uvicorn. `chalknet serve` and the page of a running
study are built on these three. Only `protocol` imports a package of the extra `serve` at its top, so the
other modules are imported without it.
"""
