/** An account that owns nothing. */
export const STRANGER = 65_534;

/** A command line that makes a program that user; needs root. */
export const AS_STRANGER: readonly string[] = [
  'setpriv',
  '--reuid',
  `${STRANGER}`,
  '--regid',
  `${STRANGER}`,
  '--clear-groups',
  '--',
];
