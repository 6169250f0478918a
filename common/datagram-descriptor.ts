import type dgram from 'node:dgram';

type Internals = {
  readonly [key: symbol]: { readonly handle?: { readonly fd?: number } | null } | undefined;
};
let stateKey: symbol | undefined;

/** File descriptor of an open socket; -1 where it is not to be had: Node keeps the handle behind a symbol. */
export function descriptorOfDatagrams(socket: dgram.Socket): number {
  stateKey ??= Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol');
  return stateKey === undefined ? -1 : ((socket as unknown as Internals)[stateKey]?.handle?.fd ?? -1);
}
