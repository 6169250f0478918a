import manifest from '../package.json' with { type: 'json' };

/** Version of Tandem, from `package.json`. */
export const VERSION: string = manifest.version;
