/** Variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

const VARIABLE = /\$?\$\{([A-Za-z_][A-Za-z0-9_]{0,127})(?::-([^}]*))?\}/g;

/**
 * A value of the config file with `${NAME}` and `${NAME:-default}` replaced, as in Compose files: the default counts where
 * the variable is missing or empty. `$${NAME}` is the text `${NAME}`. What comes in is a value and never structure.
 *
 * @param plain it stands there without quotes: what comes out is a number or a truth value where it looks like one
 * @param refuse told of a variable that is nowhere
 */
export function withVariables(
  text: string,
  plain: boolean,
  env: Environment,
  refuse: (message: string) => void,
): unknown {
  if (!text.includes('${')) return text;
  let replaced = false;
  const value = text.replaceAll(VARIABLE, (found, name: string, standard: string | undefined) => {
    if (found.startsWith('$$')) return found.slice(1);
    replaced = true;
    const given = Object.hasOwn(env, name) ? env[name] : undefined;
    if (given !== undefined && (given !== '' || standard === undefined)) return given;
    if (standard === undefined)
      refuse(`the environment has no \${${name}}, and no default is written: \${${name}:-…}`);
    return standard ?? '';
  });
  return plain && replaced ? typed(value) : value;
}

/** The core schema of YAML 1.2, as far as config files need it. */
function typed(text: string): unknown {
  if (text === 'true' || text === 'false') return text === 'true';
  return /^-?(?:\d+|\d*\.\d+)$/.test(text) ? Number(text) : text;
}
