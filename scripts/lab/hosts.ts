/** The hosts of the lab: one bridge (the switch), a client, the two nodes of the pair, three backends and a witness. */
export const HOSTS = ['client', 'lb1', 'lb2', 's1', 's2', 's3', 'witness'] as const;
export type Host = (typeof HOSTS)[number];
/** A host, or the namespace that holds the bridge. */
export type Place = Host | 'switch';

export const NODES = ['lb1', 'lb2'] as const;
export type NodeName = (typeof NODES)[number];
export const BACKENDS = ['s1', 's2', 's3'] as const;

/** Every host has exactly this one cable. */
export const INTERFACE = 'eth0';
export const PREFIX = 24;
/** First three numbers of every address; another one where the same hosts are virtual machines (`scripts/vm/`). */
const NETWORK = process.env.TANDEM_LAB_NETWORK ?? '10.84.0';
export const VIP = `${NETWORK}.100`;
export const ADDRESS: Readonly<Record<Host, string>> = {
  client: `${NETWORK}.50`,
  lb1: `${NETWORK}.11`,
  lb2: `${NETWORK}.12`,
  s1: `${NETWORK}.21`,
  s2: `${NETWORK}.22`,
  s3: `${NETWORK}.23`,
  witness: `${NETWORK}.3`,
};

/** More addresses of the client, so that stickiness by source address has more than one source. */
export const CLIENT_ADDRESSES: readonly string[] = Array.from(
  { length: 39 },
  (_, i) => `${NETWORK}.${51 + i}`,
);

/** @returns the host's IPv6 address, with the last number of its IPv4 address */
export function address6(host: Host): string {
  return `fd84::${ADDRESS[host].slice(ADDRESS[host].lastIndexOf('.') + 1)}`;
}

export function isHost(name: string): name is Host {
  return (HOSTS as readonly string[]).includes(name);
}
