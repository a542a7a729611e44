"""Operations on the queue, for command line, API and page. All state is Prefect's: runs, their labels, a pool's pause.

``task`` says what a task of the queue is, ``queue`` lists and changes tasks, ``order`` moves them, ``control`` pauses
the queue and acts on many tasks, ``capture`` makes a job from a picture, ``transfer`` writes the queue into a file.
"""
