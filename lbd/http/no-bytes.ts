/** A piece of a body in which nothing comes. */
export const NO_BYTES: Buffer = Buffer.alloc(0);
