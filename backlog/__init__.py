"""Operations on the queue, for command line, API and page. All state is Prefect's: runs, their labels, a pool's pause.

``task``: what a task is, and the errors. ``queue``: lists, add. ``change``: one task changed, moved, retried, ended.
``control``: pause, resume, all failures, the history. ``order``: the labels. ``estimate``: how long tasks take.
``capture``: a job from a picture. ``transfer``: the queue in a file.
"""
