"""The page: the queue, a form for a new job, the saved jobs. Screens of NiceGUI over ``backlog``; no state of its own.

``mount``: onto the gateway's application. ``frame``: what all screens share. ``live``: who tells a screen that the
queue has changed, and how far the running tasks are. A screen's module has a function ``build``, which registers it.
"""
