"""Candles in files of other tools: found, recognised, measured and compared.

    places        the files that arguments mean, archives opened
    names         symbol and timeframe in file and folder names (pure)
    header        what the columns of a table are (pure)
    sniffing      delimiter, header and columns of text (pure)
    tables        a file as frames of rows, piece by piece
    moments       times of any unit as epoch milliseconds
    candles       rows as numbers, and what is wrong with them
    recognition   all of this for one file
    scan          which candles a file has, and whether its grid is one
    comparison    the file beside what is stored
    foreign       rows that the exchange lacks, as lines of ours

Everything here only reads.
"""
