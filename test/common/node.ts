/**
 * The command line of a Node as it runs in life: the test runner loads modules of its own into every Node that a test
 * starts, which take time and write files, and they would be what a failure is about.
 */
export function nodeCommand(...args: readonly string[]): [file: string, args: string[]] {
  return ['env', ['-u', 'NODE_OPTIONS', process.execPath, ...args]];
}
