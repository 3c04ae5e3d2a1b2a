"""The mutation score: what part of small faults, put into the code one at a time, some test notices.

`python -m tests.mutation` changes the pure core, the writer, the store and the reconciler, a place at a time, runs the
tests that reach the changed place until one fails, and reports every change that none of them has noticed. A survivor
is killed by a test that says what was unsaid, ends by taking away code that nothing needs, or is explained in
`survivors.toml`.

    places.py    which modules are changed, and which tests are to notice
    mutants.py   the changes, and what is left out by rule
    reach.py     which tests run which lines
    process.py   forks, and pytest within them
    trial.py     a process that has imported everything once, and a fork of it for each change
    verdict.py   the survivors that are explained, the score, and the report

mutmut leaves out whatever has a decorator, properties and constants included, and mutates words for people;
cosmic-ray starts a process per mutant, hours for some thousands: hence our own.
"""
