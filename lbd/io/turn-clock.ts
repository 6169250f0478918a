let turnMs = 0;
let fresh = false;
let due = false;

/**
 * Monotonic milliseconds of this turn of the event loop, read from the clock once a turn: for what is measured of each
 * request, where the reading would cost more than it tells.
 */
export function turnNow(): number {
  if (!fresh) {
    fresh = true;
    turnMs = performance.now();
    if (!due) {
      due = true;
      setImmediate(onTurn);
    }
  }
  return turnMs;
}

/** Something else than the event loop has begun a turn. */
export function newTurn(): void {
  fresh = false;
}

function onTurn(): void {
  due = false;
  fresh = false;
}
