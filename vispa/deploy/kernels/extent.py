"""What the loops of a layer go through: the meaning of the numbers that they are told it by.

Positions are counted in runs, none of which goes on in the next; they are prepared a stretch of SIZE at a time. Of
every ACROSS the first USEFUL are output pixels. STEP is the number of words from a position to the next where all
lie in one line, so that the tile kernel makes bytes of the whole line, 0 where it copies the window of each, and
below 0 where words are counted; REACH, from a position's first word to the end of its window.

The tile kernel has two ways, a row each: BY_TILES and BY_WORDS. A third row, TIMES, holds what the last call by
either took, the number of calls, and when the one under way began.
"""

from __future__ import annotations

RUNS, LENGTH, SIZE, ACROSS, USEFUL, STEP, REACH = range(7)
BY_TILES, BY_WORDS, TIMES = range(3)
CALLS, BEGAN = 2, 3
