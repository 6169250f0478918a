/** Waits, turn by turn of the event loop, for what other callbacks of this process bring about; tap ends it if they never do. */
export async function settled(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}
