import type net from 'node:net';

/** With so many behind it, the first one has waited long enough. */
const MOST = 64;

/** Of this thread. */
const held: net.Socket[] = [];
let due = false;

/**
 * Holds back what is written to a socket until the event loop has read what there was to read. A write wakes whoever
 * waits for it, and writes one behind the other mostly find it awake, where each among reads wakes it again. With 50
 * busy clients this is a tenth of what a request costs. What is written keeps its order, whatever else is done to the
 * socket; only `destroy` loses it.
 */
export function holdBack(socket: net.Socket): void {
  if (socket.writableCorked > 0) return;
  socket.cork();
  held.push(socket);
  if (held.length > MOST) letGo();
  else if (!due) {
    due = true;
    setImmediate(onTurn);
  }
}

function onTurn(): void {
  due = false;
  letGo();
}

function letGo(): void {
  for (let i = 0; i < held.length; i++) held[i]!.uncork();
  held.length = 0;
}
