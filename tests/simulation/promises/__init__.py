"""The promises, and what becomes of them in a run: watched all the while, and judged after the last fault.

    witness     looks on from outside, at moments drawn from the seed, and after every kill and power cut
    reader      P1, P4: what somebody sees who reads a file at any moment
    library     P1 for a script that loads the files with the library
    truths      what the exchange has said of a candle, over REST or by mistake on the stream
    claims      P2, and the ledger: it claims no more than is on the disk, and what is missing is on record
    modes       P2, P3: what each mode wants, and whether it is streamed into the files
    service     P5, P7: requests, connections and bans as the exchange counts them; what the status says
    resources   tasks, descriptors and objects, which must not grow
    liveness    P2 to P4 and P7, an hour after the last fault: all of it is there, right and verified

`power_cut_states.py`, one folder up, judges the states that a power cut may leave and the run does not live on in.
Nothing here changes anything of the run, but that a witness's moments are events of it.
"""

from tests.simulation.promises.accusations import moment as moment
from tests.simulation.promises.witness import Witness as Witness
