/**
 * What makes Node run code from elsewhere, open its debugger, or write down what a daemon keeps to itself. None of it
 * belongs into a service, and it comes by accident: from the profile of a developer, or from an image.
 */
const VARIABLES: Readonly<Record<string, string>> = {
  NODE_OPTIONS: 'it may load code or open a debugger',
  NODE_PATH: 'code is loaded from there',
  NODE_DEBUG: 'secrets get into the log',
  NODE_DEBUG_NATIVE: 'secrets get into the log',
  NODE_V8_COVERAGE: 'it writes files',
  NODE_REDIRECT_WARNINGS: 'it writes a file',
  OPENSSL_CONF: 'it may load code',
  OPENSSL_MODULES: 'code is loaded from there',
  OPENSSL_ENGINES: 'code is loaded from there',
};

const FLAGS: readonly (readonly [flags: RegExp, why: string])[] = [
  [/^--(?:inspect(?:-.+)?|debug(?:-.+)?)$/, 'a debugger runs any code in this process'],
  [/^(?:-r|--require|--import|--(?:experimental-)?loader)$/, 'it loads code'],
  [
    /^--(?:env-file(?:-.+)?|experimental-(?:default-)?config(?:-file)?)$/,
    'it reads more options from a file',
  ],
  [/^--openssl-(?:shared-)?config$/, 'it may load code'],
  [
    /^--(?:heapsnapshot-.+|report-.+|heap-prof(?:-.+)?|cpu-prof(?:-.+)?)$/,
    'it writes down memory of this process',
  ],
  [/^--tls-keylog$/, 'it writes down the keys of connections'],
];

/**
 * Judges how this process was started.
 *
 * @param execArgv Node's own options, without the program and its arguments
 * @param debuggerUrl where a debugger listens already, as `inspector.url()` says
 * @returns why it must not go on, in one line; undefined: nothing is wrong
 */
export function unsafeStart(
  environment: NodeJS.ProcessEnv,
  execArgv: readonly string[],
  debuggerUrl: string | undefined,
): string | undefined {
  for (const [name, why] of Object.entries(VARIABLES))
    if (environment[name]) return `the environment has ${name}: ${why}; start it without`;
  if (environment.NODE_TLS_REJECT_UNAUTHORIZED === '0')
    return 'the environment has NODE_TLS_REJECT_UNAUTHORIZED=0: certificates would not be verified; start it without';
  for (const argument of execArgv) {
    const flag = argument.split('=', 1)[0]!.replaceAll('_', '-');
    const why = FLAGS.find(([flags]) => flags.test(flag))?.[1];
    if (why !== undefined) return `Node was started with ${flag}: ${why}; start it without`;
  }
  if (debuggerUrl !== undefined)
    return 'a debugger listens in this process, which runs any code; start it again';
  return undefined;
}
