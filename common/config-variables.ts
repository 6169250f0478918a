/** Variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** With the forms that only a shell knows, of which none may pass as text. */
const VARIABLE = /\$?\$\{([A-Za-z_][A-Za-z0-9_]{0,127})(?::-([^}]*)|([:?+=\-#%/^,@][^}]*))?\}/g;

/**
 * A value of the config file with `${NAME}` and `${NAME:-default}` replaced, as in Compose files: the default counts where
 * the variable is missing or empty. `$${NAME}` is the text `${NAME}`. What comes in is a value and never structure.
 *
 * @param plain it stands there without quotes: what comes out is a number or a truth value where it looks like one
 * @param given takes what came from the environment, by name
 * @param refuse told of a variable that is nowhere, and of a form that is not known
 */
export function withVariables(
  text: string,
  plain: boolean,
  env: Environment,
  given: Map<string, string>,
  refuse: (message: string) => void,
): unknown {
  if (!text.includes('${')) return text;
  let replaced = false;
  const value = text.replaceAll(VARIABLE, (found, name: string, standard?: string, other?: string) => {
    if (found.startsWith('$$')) return found.slice(1);
    if (other !== undefined) {
      refuse(
        `found ${found}, expected \${${name}} or \${${name}:-DEFAULT}: other forms of the shell are not known ($$ for a text that begins with $)`,
      );
      return found;
    }
    replaced = true;
    const own = Object.hasOwn(env, name) ? env[name] : undefined;
    if (own !== undefined && (own !== '' || standard === undefined)) {
      given.set(name, own);
      return own;
    }
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
