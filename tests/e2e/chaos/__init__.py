"""The kill test: whatever dies at whatever moment, `--resume` leaves every board on one of its two firmwares, and says
truthfully on which.

A fleet on a bench that outlives all runs is updated to and fro. In each round a worker, the controller, all of a run's
processes at once or a board's power goes at a random moment, once or twice; then the run is resumed, and judged.
`make chaos` runs it for as long as wanted, test_chaos.py for a minute.

    fleet.py    the boards and the lab's checkout            session.py  one pytest run and its processes
    blows.py    what is done to a run, and when              hits.py     what it hit, as the journals tell it
    rounds.py   one round from its start to the verdict      judge.py    what must hold after it
    tally.py    the figures                                  __main__.py the command
"""
